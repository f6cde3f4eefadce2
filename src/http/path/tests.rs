//! What the canonical path accepts and refuses, and that its readings agree with what is sent.

use proptest::prelude::*;

use super::*;

fn parse(path: &str) -> Result<CanonicalPath, PathRefusal> {
    CanonicalPath::parse(&PathAndQuery::try_from(path).unwrap())
}

fn matching(path: &str) -> String {
    parse(path).unwrap_or_else(|refusal| panic!("{path}: {refusal}")).matching().to_owned()
}

fn refusal(path: &str) -> PathRefusal {
    parse(path).map(|path| path.matching().to_owned()).expect_err(path)
}

fn readings(path: &str) -> Vec<String> {
    parse(path).unwrap().other_readings().collect()
}

const NOTHING: PathAllowances = PathAllowances { encoded_slash: false, path_parameters: false, empty_segments: false };

#[test]
fn plain_paths_are_their_own_form_and_cost_nothing() {
    for path in ["/", "/x", "/x/", "/.well-known/a.b", "/a..b/c", "/~me/@x:y,(1)'!$&*+=", "/[id]|^", "/ADMIN", "/a...b"]
    {
        let parsed = parse(path).unwrap();
        assert_eq!(parsed.matching(), path);
        assert!(parsed.decoded.is_none(), "{path}");
        assert_eq!(parsed.other_readings().count(), 0);
        assert!(parsed.is_allowed_by(NOTHING));
    }
}

#[test]
fn encoding_that_means_nothing_is_undone_for_matching_only() {
    let parsed = parse("/%61dmin/caf%C3%A9?x=%2e%2e").unwrap();
    assert_eq!(parsed.matching(), "/admin/café");
    assert_eq!(parsed.sent(), "/%61dmin/caf%C3%A9");
    assert_eq!(parsed.target().as_str(), "/%61dmin/caf%C3%A9?x=%2e%2e");
    assert_eq!(matching("/100%25"), "/100%");
    assert_eq!(matching("/50%25off"), "/50%off");
    assert_eq!(matching("/a%20b"), "/a b");
    assert!(readings("/a%20b/%2Bc").is_empty());
}

#[test]
fn dot_segments_are_refused_in_every_disguise() {
    for path in [
        "/..",
        "/.",
        "/../x",
        "/./x",
        "/x/..",
        "/x/.",
        "/x/../y",
        "/x/./y",
        "/%2e%2e/x",
        "/%2E%2e/x",
        "/.%2e/x",
        "/%2e./x",
        "/%2e",
        "/x/%2e%2e",
        "/..;/x",
        "/..;a=b/x",
        "/.;/x",
        "/%2e%2e;/x",
        "/..%3b/x",
        "/x%2f../y",
        "/x%2f..%2fy",
        "/x/..%2fy",
        "/..%2f",
        "/%2f..",
        "/x%5c..%5cy",
        "/..%5cx",
        "/%2e%2e%2fx",
        "/%2e%2e%5cx",
        "/.../x",
        "/..../x",
        "/%20/x",
        "/x/%20",
        "/..%20/x",
        "/.%20./x",
        "/%20../x",
        "/..%3f/x",
        "/..%23",
        "/a;../b",
        "/a;/../b",
        "/x;..;/y",
        "/%e2%80%a5/x",
        "/%ef%bc%8e%ef%bc%8e/x",
        "/%e2%80%a4./x",
        "/%ef%b9%92/x",
        "/public/..%2fadmin",
        "/public;/../admin",
        "/admin/.",
        "/x/.;/",
        "/x/..%20;/y",
    ] {
        assert_eq!(refusal(path), PathRefusal::DotSegment, "{path}");
    }
}

#[test]
fn a_fragment_is_gone_before_anything_is_matched() {
    let parsed = parse("/admin#/public").unwrap();
    assert_eq!((parsed.matching(), parsed.target().as_str()), ("/admin", "/admin"));
}

#[test]
fn double_encoding_is_refused() {
    for path in [
        "/%252e%252e/x",
        "/%252fx",
        "/%255cx",
        "/%2561dmin",
        "/%25%36%31",
        "/%2541",
        "/%25252e",
        "/x%2500",
        "/%25u002e",
        "/%25U0041",
        "/%253b",
        "/%25%32%65",
    ] {
        assert_eq!(refusal(path), PathRefusal::EncodedTwice, "{path}");
    }
}

#[test]
fn broken_encoding_and_text_is_refused() {
    for path in ["/%", "/%4", "/%zz", "/%4g", "/%-1", "/%%", "/%u002e", "/x%", "/%+1"] {
        assert_eq!(refusal(path), PathRefusal::BrokenEncoding, "{path}");
    }
    for path in [
        "/%c0%af",
        "/%c0%ae%c0%ae/x",
        "/%e0%80%af",
        "/%ff",
        "/%c3",
        "/%ed%a0%80",
        "/%c3;%a9",
        "/%f8%80%80%80%af",
        "/%c3/%a9",
    ] {
        assert_eq!(refusal(path), PathRefusal::NotUtf8, "{path}");
    }
    for path in ["/%00", "/x%0d%0ay", "/%09", "/%1f", "/%7f", "/x%00/../y", "/%c2%85", "/%c2%80x"] {
        assert_eq!(refusal(path), PathRefusal::Control, "{path}");
    }
}

#[test]
fn bytes_that_need_encoding_are_refused_raw() {
    for path in ["/x\\y", "/..\\x", "/{x}", "/x`", "/é", "/\u{7f}"] {
        let Ok(target) = PathAndQuery::try_from(path) else { continue };
        assert_eq!(CanonicalPath::parse(&target).expect_err(path), PathRefusal::ForbiddenByte, "{path}");
    }
    for byte in (0..=0x20).chain([b'"', b'<', b'>', b'\\', b'`', b'{', b'}', b'#', b'?']).chain(0x7f..=0xff) {
        assert_eq!(is_plain(&[b'/', byte]), Err(PathRefusal::ForbiddenByte), "{byte:#x}");
    }
}

#[test]
fn only_bounded_origin_form_is_looked_at() {
    assert_eq!(refusal("*"), PathRefusal::NotAbsolute);
    assert_eq!(refusal("?x"), PathRefusal::NotAbsolute);
    assert_eq!(refusal(&format!("/{}", "a".repeat(MAX_TARGET_BYTES))), PathRefusal::TooLong);
}

#[test]
fn every_oddity_needs_its_allowance() {
    let needs = |path| parse(path).unwrap().needs();
    assert_eq!(needs("/a%2fb"), PathAllowances { encoded_slash: true, ..NOTHING });
    assert_eq!(needs("/a%2Fb"), PathAllowances { encoded_slash: true, ..NOTHING });
    assert_eq!(needs("/a%5cb"), PathAllowances { encoded_slash: true, ..NOTHING });
    assert_eq!(needs("/a;x=1/b"), PathAllowances { path_parameters: true, ..NOTHING });
    assert_eq!(needs("/a%3bx/b"), PathAllowances { path_parameters: true, ..NOTHING });
    assert_eq!(needs("//a"), PathAllowances { empty_segments: true, ..NOTHING });
    assert_eq!(needs("/a//"), PathAllowances { empty_segments: true, ..NOTHING });
    assert_eq!(needs("/a/%2fb"), PathAllowances { encoded_slash: true, path_parameters: false, empty_segments: true });
    assert_eq!(needs("/a/;x/b"), PathAllowances { encoded_slash: false, path_parameters: true, empty_segments: true });
    assert_eq!(needs("/a./b%3f"), NOTHING);
    let odd = parse("//a;x/b%2fc").unwrap();
    assert!(odd.is_allowed_by(PathAllowances { encoded_slash: true, path_parameters: true, empty_segments: true }));
    for missing in 0..3 {
        let allowances =
            PathAllowances { encoded_slash: missing != 0, path_parameters: missing != 1, empty_segments: missing != 2 };
        assert!(!odd.is_allowed_by(allowances), "{missing}");
    }
}

#[test]
fn matching_ignores_what_an_upstream_may_ignore() {
    assert_eq!(matching("/admin;x=1/users"), "/admin/users");
    assert_eq!(matching("/admin%3Bx=1/users"), "/admin/users");
    assert_eq!(matching("//admin///users"), "/admin/users");
    assert_eq!(matching("/admin%2fusers"), "/admin/users");
    assert_eq!(matching("/admin%5Cusers"), "/admin/users");
    assert_eq!(matching("/;x/admin"), "/admin");
    assert_eq!(matching("/admin%2f%2fusers/"), "/admin/users/");
    assert_eq!(matching("/admin%23/public"), "/admin#/public");
    assert_eq!(matching("/admin%3fx"), "/admin?x");
    assert_eq!(matching("/admin."), "/admin.");
}

#[test]
fn the_other_readings_are_all_known() {
    assert_eq!(readings("/admin;x/users"), ["/admin;x/users"]);
    assert_eq!(readings("//admin"), ["//admin"]);
    assert_eq!(readings("/admin%2fusers"), ["/admin%2Fusers"]);
    assert_eq!(readings("/admin%23/public"), ["/admin"]);
    assert_eq!(readings("/admin%3f/public"), ["/admin"]);
    assert_eq!(readings("/admin./x%20"), ["/admin/x"]);
    assert_eq!(readings("/Yahoo!_Inc."), ["/Yahoo!_Inc"]);
    assert_eq!(readings("//admin;x"), ["//admin;x", "//admin", "/admin;x"]);
    assert!(readings("/admin.;x").contains(&"/admin".to_owned()));
    assert!(readings("/a;b%3fc/d").contains(&"/a".to_owned()));
    assert!(readings("/a%2f%2fb%3bx%20/c.%23").len() <= 31);
}

#[test]
fn mixed_spellings_of_one_delimiter_are_refused() {
    for path in ["/a%2fb%5cc", "/a;b/c%3bd", "/a;b%2fc", "/a%3bb%5cc", "/a;x=%2fadmin/b"] {
        assert_eq!(refusal(path), PathRefusal::Ambiguous, "{path}");
    }
}

proptest! {
    #[test]
    fn any_target_is_read_or_refused(text in "/([a-c.;/%?#\\\\ -]|%[0-9a-fA-F]{2}|%2[ef]|%25|%5c|%3b|\\PC){0,30}") {
        let Ok(target) = PathAndQuery::try_from(text.as_str()) else { return Ok(()) };
        let Ok(path) = CanonicalPath::parse(&target) else { return Ok(()) };
        prop_assert_eq!(path.target().as_str(), target.as_str());
        prop_assert!(path.matching().starts_with('/'));
        prop_assert!(!path.matching().contains("//"));
        for reading in path.other_readings().chain([path.matching().to_owned()]) {
            prop_assert!(reading.starts_with('/'), "{}", reading);
            prop_assert!(!reading.chars().any(char::is_control));
            prop_assert!(!reading.split(['/', '\\', ';']).any(|segment| segment == "." || segment == ".."), "{}", reading);
        }
    }

    #[test]
    fn a_plain_path_decodes_to_itself(text in "(/[a-zA-Z0-9~_@:!$&'()*+,=-]{0,5}[a-z])+/?") {
        let decoded = decode(text.as_bytes()).unwrap();
        prop_assert_eq!(&decoded.matching, &text);
        prop_assert_eq!(decoded.found, Kinds::NONE);
        prop_assert_eq!(is_plain(text.as_bytes()), Ok(true));
    }

    #[test]
    fn encoding_any_letter_changes_no_match(text in "(/[a-z]{1,6}){1,4}", which in any::<u32>()) {
        let encoded: String = text.chars().enumerate().map(|(at, c)| {
            if c != '/' && which >> (at % 32) & 1 == 1 { format!("%{:02x}", c as u32) } else { c.to_string() }
        }).collect();
        prop_assert_eq!(matching(&encoded), text);
    }
}
