//! Rules as a whole: what is compared exactly, what mends what, and what never admits.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::asker::Asker;
use super::rule::{Rule, Verdict, evaluate};
use super::wanted::NOTHING;
use crate::base::clock::Timestamp;
use crate::config::settings::{Account, Allow, ClaimCondition, ClaimTest, Conditions, Scalar};
use crate::identity::principal::{Principal, Unclear};
use crate::net::client_certificate::ClientCertificate;

const NOW: Timestamp = Timestamp::from_seconds(10_000);

fn principal(groups: &[&str], roles: &[&str], email: &str, verified: bool) -> Principal {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Principal {
        provider: Arc::from("corp"),
        issuer: "https://login.example.com".to_owned(),
        subject: "1".to_owned(),
        email: Some(email.to_owned()),
        email_verified: verified,
        groups: owned(groups),
        roles: owned(roles),
        ..Principal::default()
    }
}

#[expect(clippy::unnecessary_wraps, reason = "every condition is optional")]
fn list(values: &[&str]) -> Option<Vec<String>> {
    Some(values.iter().map(|value| (*value).to_owned()).collect())
}

fn any_of(tables: Vec<Conditions>) -> Rule {
    Rule::compile(&Allow::AnyOf(tables), &[])
}

fn of(principal: Option<&Principal>) -> Asker<'_> {
    Asker { principal, now: NOW, ..Asker::NOBODY }
}

/// What the rule says, in a word.
fn said(rule: &Rule, asker: &Asker<'_>) -> &'static str {
    match evaluate(rule, asker) {
        Verdict::Admit => "admit",
        Verdict::NeedsSignIn(_) => "sign in",
        Verdict::NeedsStepUp(_) => "step up",
        Verdict::Forbid => "forbid",
    }
}

fn admits(conditions: Conditions, principal: &Principal) -> bool {
    evaluate(&any_of(vec![conditions]), &of(Some(principal))) == Verdict::Admit
}

fn admits_domain(email: &str, verified: bool) -> bool {
    let conditions = Conditions { email_domains: list(&["Corp.com"]), ..Conditions::default() };
    admits(conditions, &principal(&[], &[], email, verified))
}

#[test]
fn the_three_kinds_of_rule() {
    let somebody = principal(&[], &[], "a@corp.com", true);
    let nobody_special = any_of(vec![Conditions { groups: list(&["x"]), ..Conditions::default() }]);
    let (everyone, signed_in) = (Rule::compile(&Allow::Everyone, &[]), Rule::compile(&Allow::SignedIn, &[]));
    assert_eq!(evaluate(&everyone, &of(None)), Verdict::Admit);
    assert_eq!(evaluate(&signed_in, &of(None)), Verdict::NeedsSignIn(&NOTHING));
    assert_eq!(evaluate(&signed_in, &of(Some(&somebody))), Verdict::Admit);
    assert_eq!(evaluate(&nobody_special, &of(None)), Verdict::NeedsSignIn(&NOTHING));
    assert_eq!(evaluate(&nobody_special, &of(Some(&somebody))), Verdict::Forbid);
}

#[test]
fn keys_are_and_values_any_of_tables_or() {
    let both = Conditions { groups: list(&["ops", "dev"]), roles: list(&["admin"]), ..Conditions::default() };
    assert!(admits(both.clone(), &principal(&["dev"], &["admin"], "", false)));
    assert!(!admits(both.clone(), &principal(&["dev"], &["user"], "", false)));
    assert!(!admits(both.clone(), &principal(&["x"], &["admin"], "", false)));
    let or = any_of(vec![both, Conditions { providers: list(&["corp"]), ..Conditions::default() }]);
    assert_eq!(evaluate(&or, &of(Some(&principal(&[], &[], "", false)))), Verdict::Admit);
}

#[test]
fn names_are_compared_exactly() {
    let conditions = Conditions { groups: list(&["admin"]), ..Conditions::default() };
    for group in ["Admin", "admin ", " admin", "admi", "admins", "a,admin", "admin\n", "admin\0", "\u{430}dmin", ""] {
        assert!(!admits(conditions.clone(), &principal(&[group], &[], "", false)), "{group:?}");
    }
    assert!(!admits(conditions.clone(), &principal(&[], &["admin"], "", false)), "a role is no group");
    assert!(admits(conditions, &principal(&["z", "admin"], &[], "", false)));
    let provider = Conditions { providers: list(&["other"]), ..Conditions::default() };
    assert!(!admits(provider, &principal(&[], &[], "", false)));
}

#[test]
fn what_can_not_be_met_admits_nobody() {
    let somebody = principal(&[""], &[""], "a@corp.com", true);
    assert!(!admits(Conditions::default(), &somebody));
    assert!(!admits(Conditions { groups: Some(Vec::new()), ..Conditions::default() }, &somebody));
    assert!(!admits(Conditions { emails: list(&["", "@", "a@"]), ..Conditions::default() }, &somebody));
    let dotted = principal(&[], &[], "a@corp.com.", true);
    assert!(!admits(Conditions { emails: list(&["a@corp.com."]), ..Conditions::default() }, &dotted));
    assert!(!admits(Conditions { email_domains: list(&["corp.com."]), ..Conditions::default() }, &dotted));
    assert_eq!(evaluate(&any_of(Vec::new()), &of(Some(&somebody))), Verdict::Forbid);
}

#[test]
fn a_domain_is_compared_whole_and_without_case() {
    assert!(admits_domain("a@corp.com", true));
    assert!(admits_domain("a@CORP.com", true));
    assert!(!admits_domain("a@corp.com", false), "the provider did not verify it");
    for email in [
        "a@evil.com@corp.com",
        "a@corp.com@evil.com",
        "a@corp.com.evil",
        "a@sub.corp.com",
        "a@evilcorp.com",
        "a@corp.com.",
        "\"x@corp.com\"@evil.com",
        "\"a\"@corp.com",
        "a@corp.com ",
        " a@corp.com",
        "a b@corp.com",
        "a@corp.com,b@evil.com",
        "b@evil.com,a@corp.com",
        "a(c)@corp.com",
        "a@(c)corp.com",
        "a@corp.com\0",
        "a\0@corp.com",
        "a@corp.com\r\n",
        "@corp.com",
        "corp.com",
        "a@",
        "a@c\u{f6}rp.com",
        "a@\u{441}orp.com",
        "\u{e9}@corp.com",
        "a@corp\u{3002}com",
        "a@.corp.com",
        "a@corp..com",
        "a@-corp.com",
        "a@[corp.com]",
        "<a@corp.com>",
        "a@corp.com>",
        "a\\@corp.com",
        "a:b@corp.com",
        ".a@corp.com",
        "a..b@corp.com",
        "a\t@corp.com",
        "",
    ] {
        assert!(!admits_domain(email, true), "{email:?}");
    }
    let long = format!("{}@corp.com", "a".repeat(254));
    assert!(!admits_domain(&long, true));
}

#[test]
fn an_address_is_compared_exactly_but_for_its_domain() {
    let conditions = Conditions { emails: list(&["Bob@Corp.com", "x y@corp.com"]), ..Conditions::default() };
    let admitted = |email, verified| admits(conditions.clone(), &principal(&[], &[], email, verified));
    assert!(admitted("Bob@corp.com", true));
    assert!(admitted("Bob@CORP.COM", true));
    assert!(!admitted("Bob@corp.com", false));
    for email in
        ["bob@corp.com", "Bob@corp.com ", "Bob+x@corp.com", "Bob@corp.co", "x y@corp.com", "Bob@corp.com@corp.com"]
    {
        assert!(!admitted(email, true), "{email:?}");
    }
    let mut without = principal(&[], &[], "", true);
    without.email = None;
    assert!(!admits(conditions, &without));
}

fn certificate() -> ClientCertificate {
    let params = rcgen::CertificateParams::new(vec!["backup.example.com".to_owned()]).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    ClientCertificate::new(params.self_signed(&key).unwrap().der()).unwrap()
}

#[test]
fn a_certificate_alone_admits_and_beside_other_keys_it_is_needed_too() {
    let shown = certificate();
    let somebody = principal(&[], &["admin"], "", false);
    let verdict = |conditions: &[&Conditions], who: Option<&Principal>, shown: Option<&ClientCertificate>| {
        let tables = conditions.iter().map(|table| (*table).clone()).collect();
        said(&any_of(tables), &Asker { certificate: shown, ..of(who) })
    };
    let alone = Conditions { client_certificate: list(&["dns:backup.example.com"]), ..Conditions::default() };
    let other = Conditions { client_certificate: list(&["dns:other.example.com"]), ..Conditions::default() };
    let both = Conditions { roles: list(&["admin"]), ..alone.clone() };
    let role = Conditions { roles: list(&["admin"]), ..Conditions::default() };
    let (who, cert) = (Some(&somebody), Some(&shown));
    for (conditions, who, cert, expected) in [
        (&[&alone][..], None, cert, "admit"),
        (&[&alone], None, None, "forbid"),
        (&[&alone], who, None, "forbid"),
        (&[&other], who, cert, "forbid"),
        (&[&both], who, cert, "admit"),
        (&[&both], None, cert, "sign in"),
        (&[&both], who, None, "forbid"),
        (&[&both], None, None, "forbid"),
        (&[&other, &role], None, cert, "sign in"),
        (&[&other, &role], who, cert, "admit"),
    ] {
        assert_eq!(verdict(conditions, who, cert), expected, "{conditions:?}");
    }
    let empty = Conditions { client_certificate: Some(Vec::new()), ..Conditions::default() };
    assert_eq!(verdict(&[&empty], who, cert), "forbid");
}

#[test]
fn an_account_is_a_subject_at_its_provider() {
    let alice = Account { provider: "corp".to_owned(), subject: "1".to_owned() };
    let conditions = Conditions { accounts: Some(vec![alice]), ..Conditions::default() };
    let who = principal(&[], &[], "", false);
    assert!(admits(conditions.clone(), &who));
    assert!(!admits(conditions.clone(), &Principal { provider: Arc::from("other"), ..who.clone() }));
    for subject in ["2", "1 ", "", "11", "\u{ff11}"] {
        assert!(!admits(conditions.clone(), &Principal { subject: subject.to_owned(), ..who.clone() }), "{subject:?}");
    }
}

#[test]
fn scopes_are_compared_whole() {
    let conditions = Conditions { scopes: list(&["orders:read"]), ..Conditions::default() };
    let granted = |scopes: &[&str]| Principal { scopes: list(scopes).unwrap(), ..principal(&[], &[], "", false) };
    assert!(admits(conditions.clone(), &granted(&["openid", "orders:read"])));
    for scopes in [&["orders:rea"][..], &["orders:read orders:write"], &["orders:read2"], &["Orders:read"], &[]] {
        assert!(!admits(conditions.clone(), &granted(scopes)), "{scopes:?}");
    }
}

#[test]
fn a_network_holds_the_clients_address_and_asks_for_no_sign_in() {
    let networks = Some(vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()]);
    let alone = any_of(vec![Conditions { networks: networks.clone(), ..Conditions::default() }]);
    let both = any_of(vec![Conditions { networks, roles: list(&["admin"]), ..Conditions::default() }]);
    let admin = principal(&[], &["admin"], "", false);
    for (client, who, of_alone, of_both) in [
        (Some("10.1.2.3"), None, "admit", "sign in"),
        (Some("2001:db8::1"), Some(&admin), "admit", "admit"),
        (Some("11.0.0.1"), Some(&admin), "forbid", "forbid"),
        (Some("2001:db9::1"), None, "forbid", "forbid"),
        (None, Some(&admin), "forbid", "forbid"),
    ] {
        let client: Option<IpAddr> = client.map(|client| client.parse().unwrap());
        let asker = Asker { client, ..of(who) };
        assert_eq!((said(&alone, &asker), said(&both, &asker)), (of_alone, of_both), "{client:?}");
    }
}

#[test]
fn how_somebody_signed_in_is_mended_by_another_sign_in_and_who_they_are_is_not() {
    let table = Conditions {
        roles: list(&["admin"]),
        acr: list(&["gold"]),
        max_age: Some(Duration::from_mins(1)),
        ..Conditions::default()
    };
    let rule = any_of(vec![table]);
    let with = |roles: &[&str], acr: Value| Principal {
        claims: json!({"acr": acr}).as_object().unwrap().clone(),
        ..principal(&[], roles, "", false)
    };
    let (fresh, stale) = (Timestamp::from_seconds(9_940), Timestamp::from_seconds(9_939));
    for (roles, acr, authenticated, expected) in [
        (&["admin"], json!("gold"), Some(fresh), "admit"),
        (&["admin"], json!("gold"), Some(stale), "step up"),
        (&["admin"], json!("gold"), None, "step up"),
        (&["admin"], json!("silver"), Some(fresh), "step up"),
        (&["admin"], json!(["gold"]), Some(fresh), "step up"),
        (&["user"], json!("gold"), Some(fresh), "forbid"),
        (&["user"], json!("silver"), Some(stale), "forbid"),
    ] {
        let who = with(roles, acr.clone());
        let asker = Asker { authenticated, ..of(Some(&who)) };
        assert_eq!(said(&rule, &asker), expected, "{roles:?} {acr} {authenticated:?}");
    }
    assert_eq!(said(&rule, &of(None)), "sign in");
    let Verdict::NeedsSignIn(wanted) = evaluate(&rule, &of(None)) else { panic!("no sign-in") };
    assert_eq!((wanted.acr.as_slice(), wanted.max_age), (&["gold".to_owned()][..], Some(Duration::from_mins(1))));
}

#[test]
fn a_sign_in_asks_for_more_only_where_nothing_less_would_do() {
    let gold = Conditions { acr: list(&["gold"]), ..Conditions::default() };
    let staff = Conditions { groups: list(&["staff"]), ..Conditions::default() };
    let rule = any_of(vec![gold, staff]);
    assert_eq!(evaluate(&rule, &of(None)), Verdict::NeedsSignIn(&NOTHING));
    assert_eq!(said(&rule, &of(Some(&principal(&["staff"], &[], "", false)))), "admit");
    assert_eq!(said(&rule, &of(Some(&principal(&[], &[], "", false)))), "step up");
}

#[test]
fn what_denies_is_looked_at_first_and_takes_what_can_not_be_read_for_met() {
    let deny = |table: Conditions| Rule::compile(&Allow::SignedIn, &[table]);
    let banned = deny(Conditions { groups: list(&["banned"]), ..Conditions::default() });
    let plain = principal(&["staff"], &["admin"], "a@corp.com", true);
    assert_eq!(said(&banned, &of(Some(&plain))), "admit");
    assert_eq!(said(&banned, &of(Some(&principal(&["staff", "banned"], &[], "", false)))), "forbid");
    assert_eq!(said(&banned, &of(None)), "sign in");
    let unclear = Unclear { groups: true, roles: false };
    assert_eq!(said(&banned, &of(Some(&Principal { unclear, ..plain.clone() }))), "forbid");

    let suspended = deny(Conditions {
        claims: vec![ClaimCondition {
            path: vec!["suspended".to_owned()],
            tests: vec![ClaimTest::OneOf(vec![Scalar::Bool(true)])],
        }],
        ..Conditions::default()
    });
    for (claims, expected) in [
        (json!({}), "admit"),
        (json!({"suspended": false}), "admit"),
        (json!({"suspended": true}), "forbid"),
        (json!({"suspended": "true"}), "forbid"),
        (json!({"suspended": [true]}), "forbid"),
    ] {
        let who = Principal { claims: claims.as_object().unwrap().clone(), ..plain.clone() };
        assert_eq!(said(&suspended, &of(Some(&who))), expected, "{claims}");
    }

    let domain = deny(Conditions { email_domains: list(&["evil.com"]), ..Conditions::default() });
    for (email, verified, expected) in [
        ("a@evil.com", true, "forbid"),
        ("a@evil.com", false, "forbid"),
        ("a@evil.com@corp.com", true, "forbid"),
        ("a@corp.com", false, "admit"),
    ] {
        assert_eq!(said(&domain, &of(Some(&principal(&[], &[], email, verified)))), expected, "{email}");
    }

    let outside = deny(Conditions { networks: Some(vec!["192.0.2.0/24".parse().unwrap()]), ..Conditions::default() });
    for (client, expected) in [(Some("192.0.2.9"), "forbid"), (None, "forbid"), (Some("198.51.100.1"), "admit")] {
        let asker = Asker { client: client.map(|client| client.parse().unwrap()), ..of(Some(&plain)) };
        assert_eq!(said(&outside, &asker), expected, "{client:?}");
    }
    let both = [Conditions { roles: list(&["admin"]), groups: list(&["staff"]), ..Conditions::default() }];
    let rule = Rule::compile(&Allow::Everyone, &both);
    assert_eq!(said(&rule, &of(Some(&plain))), "forbid");
    assert_eq!(said(&rule, &of(Some(&principal(&["staff"], &[], "", false)))), "admit");
    assert_eq!(said(&rule, &of(None)), "admit");
}

proptest! {
    #[test]
    fn only_addresses_that_end_in_the_domain_are_admitted(email in "[a-z@. \"(),A-Z]{0,8}(@corp[.]com)?[ .a-z@\"]{0,3}") {
        if admits_domain(&email, true) {
            prop_assert!(email.to_ascii_lowercase().ends_with("@corp.com"));
            prop_assert_eq!(email.matches('@').count(), 1);
        }
    }

    #[test]
    fn any_address_is_judged(email in "(?s).{0,40}") {
        let _ = admits_domain(&email, true);
    }
}
