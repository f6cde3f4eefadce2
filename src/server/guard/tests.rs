//! The guard frame by frame: what it hands on, and the code that it puts into h2's GOAWAY.

use proptest::prelude::*;

use super::*;

const END: [u8; 9] = [0; 9];
/// GOAWAY with the general code, as h2 sends it.
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1];

/// A request of one field from the static table, which is enough of one here.
const FIELDS: &[u8] = b"\x83\x84\x86";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// What is handed on of `bytes` when they come in pieces of `size`, and are asked for in pieces of `room`.
fn pass(guard: &mut Guard, bytes: &[u8], size: usize, room: usize) -> Vec<u8> {
    let mut handed_on = Vec::new();
    let mut rest = bytes;
    loop {
        if !guard.ready().is_empty() {
            let count = guard.ready().len().min(room);
            handed_on.extend_from_slice(&guard.ready()[..count]);
            guard.handed_on(count);
            continue;
        }
        if guard.is_over() || rest.is_empty() {
            return handed_on;
        }
        if guard.missing() > 0 {
            let count = guard.missing().min(size).min(rest.len());
            guard.complete(&rest[..count]);
            rest = &rest[count..];
            continue;
        }
        let mut piece = rest[..size.min(room).min(rest.len())].to_vec();
        rest = &rest[piece.len()..];
        let count = guard.inspect(&mut piece);
        handed_on.extend_from_slice(&piece[..count]);
    }
}

/// What became of `frames` after a handshake: all of them were handed on, or the connection was ended with this code.
fn judged(frames: &[Vec<u8>]) -> Option<u32> {
    let bytes = frames.concat();
    let mut judged = Vec::new();
    for (size, room) in [(usize::MAX, usize::MAX), (1, 1), (7, 20), (20, 4), (11, 11)] {
        let mut guard = Guard::new(true);
        let handed_on = pass(&mut guard, &bytes, size, room);
        let code = guard.is_over().then(|| {
            assert!(handed_on.ends_with(&END), "h2 ends the connection: {handed_on:x?}");
            let sent = guard.amended(&[IoSlice::new(&GOAWAY)]).unwrap_or_else(|| GOAWAY.to_vec());
            assert_eq!(sent[..16], GOAWAY[..16]);
            u32::from(sent[16])
        });
        if code.is_none() {
            assert_eq!(handed_on, bytes, "in pieces of {size} and {room}");
        }
        judged.push(code);
    }
    assert!(judged.windows(2).all(|two| two[0] == two[1]), "the pieces make a difference: {judged:?}");
    judged[0]
}

fn code(reason: Reason) -> Option<u32> {
    (reason != Reason::NO_ERROR).then(|| u32::from(reason))
}

#[test]
fn what_is_right_passes_as_it_is() {
    let frames = [
        frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff, 0, 3, 0xff, 0xff, 0xff, 0xff]),
        frame(4, 1, 0, &[]),
        frame(8, 0, 0, &[0, 0, 0, 1]),
        frame(1, 4, 1, FIELDS),
        frame(0, 0, 1, &[7; 70]),
        frame(6, 0, 0, &[9; 8]),
        frame(0, 0x8, 1, &[2, 1, 0, 0]),
        frame(1, 4 | 8 | 0x20, 3, &[&[2, 0, 0, 0, 0, 9][..], FIELDS, &[0, 0]].concat()),
        frame(1, 1, 5, &FIELDS[..1]),
        frame(9, 0, 5, &[]),
        frame(9, 4, 5, &FIELDS[1..]),
        frame(1, 4 | 1, 1, b"\x00\x06x-test\x02ok"),
        frame(2, 0, 9, &[0, 0, 0, 1, 9]),
        frame(8, 0, 1, &[0, 0, 0, 1]),
        frame(3, 0, 1, &[0, 0, 0, 8]),
        frame(0, 1, 1, &[1]),
        frame(0x17, 0xff, 77, &[1; 30]),
    ];
    assert_eq!(judged(&frames), None);
}

#[test]
fn the_size_of_a_frame_is_what_its_type_says() {
    for wrong in [
        frame(0, 8, 1, &[]),
        frame(1, 4 | 8, 1, &[]),
        frame(1, 4 | 0x20, 1, &[0; 4]),
        frame(1, 4 | 8 | 0x20, 1, &[0; 5]),
        frame(2, 0, 1, &[0; 4]),
        frame(3, 0, 1, &[0; 3]),
        frame(3, 0, 1, &[]),
        frame(4, 1, 0, &[0]),
        frame(4, 0, 0, &[0, 3, 0]),
        frame(6, 0, 0, &[0; 6]),
        frame(7, 0, 0, &[0; 7]),
        frame(8, 0, 0, &[0; 3]),
    ] {
        assert_eq!(judged(&[frame(1, 4, 1, FIELDS), wrong.clone()]), code(Reason::FRAME_SIZE_ERROR), "{wrong:x?}");
    }
}

#[test]
fn a_window_has_bounds() {
    let wrong = frame(4, 0, 0, &[0, 3, 0, 0, 0, 100, 0, 4, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(judged(&[wrong]), code(Reason::FLOW_CONTROL_ERROR));
}

#[test]
fn nothing_follows_the_end_of_a_request() {
    let (open, whole, trailers) = (frame(1, 4, 1, FIELDS), frame(1, 5, 1, FIELDS), frame(1, 5, 1, b"\x8f"));
    let (data, last, reset) = (frame(0, 0, 1, b"x"), frame(0, 1, 1, b"x"), frame(3, 0, 1, &[0, 0, 0, 8]));
    for (frames, reason) in [
        (vec![&whole, &data], code(Reason::STREAM_CLOSED)),
        (vec![&whole, &whole], code(Reason::STREAM_CLOSED)),
        (vec![&open, &last, &data], code(Reason::STREAM_CLOSED)),
        (vec![&open, &last, &trailers], code(Reason::STREAM_CLOSED)),
        (vec![&open, &trailers, &trailers], code(Reason::STREAM_CLOSED)),
        (vec![&open, &reset, &trailers], code(Reason::STREAM_CLOSED)),
        (vec![&open, &reset, &data], None),
        (vec![&open, &data, &data, &trailers], None),
    ] {
        let frames: Vec<Vec<u8>> = frames.into_iter().cloned().collect();
        assert_eq!(judged(&frames), reason, "{frames:x?}");
    }
}

#[test]
fn a_client_does_not_push() {
    assert_eq!(judged(&[frame(5, 4, 1, &[0, 0, 0, 2, 0x88])]), code(Reason::PROTOCOL_ERROR));
}

#[test]
fn a_block_that_does_not_decompress_is_ruined_where_it_goes_wrong() {
    for block in [&b"\x40"[..], b"\x83\xff\xff\xff\xff\xff\x01\x01", b"\x83\xbe\x84"] {
        assert_eq!(judged(&[frame(1, 5, 1, block)]), code(Reason::COMPRESSION_ERROR), "{block:x?}");
        let cut = [frame(1, 1, 1, &block[..1]), frame(9, 4, 1, &block[1..])];
        assert_eq!(judged(&cut), code(Reason::COMPRESSION_ERROR), "{block:x?}");
    }
    let mut guard = Guard::new(true);
    let handed_on = pass(&mut guard, &frame(1, 4 | 8, 1, &[&[2, 0x83, 0xbe, 0x84][..], &[0, 0]].concat()), 99, 99);
    assert_eq!(handed_on[9..], [&[2, 0x83, 0x80, 0x80, 0, 0], &END[..]].concat());
}

#[test]
fn trailers_are_no_place_for_pseudo_header_fields() {
    let open = frame(1, 4, 1, FIELDS);
    for trailers in [&b"\x8f\x83"[..], b"\x00\x05:path\x01/"] {
        let mut guard = Guard::new(true);
        let handed_on = pass(&mut guard, &[open.clone(), frame(1, 5, 1, trailers)].concat(), 99, 99);
        assert_eq!(judged(&[open.clone(), frame(1, 5, 1, trailers)]), code(Reason::PROTOCOL_ERROR));
        assert!(!handed_on[open.len()..].contains(&b':') && !handed_on[open.len()..].contains(&0x83));
    }
}

/// h2 refuses these with the right code: they pass as they are, and so does all that follows.
#[test]
fn what_h2_says_rightly_is_left_to_it() {
    let after = frame(6, 0, 0, &[0; 6]);
    for wrong in [
        vec![frame(1, 0, 1, FIELDS), frame(0, 0, 1, b"x")],
        vec![frame(1, 0, 1, FIELDS), frame(9, 4, 3, FIELDS)],
        vec![frame(9, 4, 1, FIELDS)],
        vec![frame(1, 4 | 8, 1, &[9, 0x83])],
    ] {
        assert_eq!(judged(&[wrong, vec![after.clone()]].concat()), None);
    }
}

#[test]
fn a_clients_farewell_closes_nothing() {
    let (ping, farewell, ignored) = (frame(6, 0, 0, &[9; 8]), frame(7, 0, 0, &[3; 12]), frame(0xff, 0, 0, &[3; 12]));
    let of_a_stream = frame(7, 0, 1, &[3; 12]);
    for (size, room) in [(99, 99), (1, 1), (12, 5)] {
        let sent = [&ping[..], &farewell, &ping, &of_a_stream, &ping].concat();
        let seen = [&ping[..], &ignored, &ping, &of_a_stream, &ping].concat();
        assert_eq!(pass(&mut Guard::new(true), &sent, size, room), seen);
    }
}

#[test]
fn the_preface_comes_first_where_it_was_not_read_yet() {
    let wrong = frame(6, 0, 0, &[0; 6]);
    for size in [1, 5, 24, 99] {
        let mut guard = Guard::new(false);
        let bytes = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &wrong].concat();
        assert!(pass(&mut guard, &bytes, size, 99).starts_with(&bytes[..24]));
        assert!(guard.is_over());
        let mut guard = Guard::new(false);
        let bytes = [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &wrong].concat();
        assert_eq!(pass(&mut guard, &bytes, size, 99), bytes, "h2 refuses that");
    }
}

/// Which bytes may be other ones than came: the type of a farewell, and in the frame in which a rule was found broken, from where that
/// was, what no decoder takes for a field.
fn is_what_came(came: &[u8], handed_on: &[u8]) -> bool {
    let mut is_ruined = false;
    handed_on.iter().zip(came).all(|(after, before)| {
        let is_farewell = !is_ruined && (*before, *after) == (7, 0xff);
        is_ruined |= after != before && !is_farewell;
        after == before || is_farewell || *after == 0x80
    })
}

/// What holds of any bytes, in whatever pieces they come.
fn holds(bytes: &[u8], size: usize, room: usize) -> Result<(), TestCaseError> {
    let mut guard = Guard::new(true);
    let handed_on = pass(&mut guard, bytes, size, room);
    let mut at_once = Guard::new(true);
    let all = pass(&mut at_once, bytes, usize::MAX, usize::MAX);
    prop_assert_eq!(guard.incoming.verdict(), at_once.incoming.verdict(), "the pieces make a difference");
    prop_assert_eq!((guard.is_over(), handed_on.len()), (at_once.is_over(), all.len()));
    prop_assert_eq!(guard.is_over(), guard.incoming.verdict().is_some());
    if guard.is_over() {
        // All of what ends the connection is handed on, behind what came before.
        prop_assert!(handed_on.ends_with(&END), "{:x?}", handed_on);
        let before = handed_on.len() - END.len();
        prop_assert!(before <= bytes.len() && is_what_came(bytes, &handed_on[..before]), "{:x?}", handed_on);
    } else {
        // Only the beginning of a frame's header is held back.
        let held_back = if guard.missing() == 0 { 0 } else { END.len() - guard.missing() };
        prop_assert_eq!(handed_on.len() + held_back, bytes.len());
        prop_assert!(is_what_came(bytes, &handed_on), "{:x?}", handed_on);
    }
    Ok(())
}

#[test]
fn bytes_that_run_out_in_a_ruined_block_end_nothing_yet_and_are_no_field() {
    // The frame says seven bytes: five of priority, an index that names nothing, and one that never comes.
    let bytes = [0, 0, 7, 1, 0xa0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0xbe];
    for (size, room) in [(1, 1), (1, 9), (9, 1), (99, 99)] {
        let mut guard = Guard::new(true);
        assert_eq!(pass(&mut guard, &bytes, size, room), [&bytes[..14], &[0x80]].concat());
        assert!(!guard.is_over());
        assert_eq!(pass(&mut guard, &[0x82], size, room), [&[0x80][..], &END].concat());
        assert_eq!(guard.incoming.verdict(), Some(Reason::COMPRESSION_ERROR));
    }
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let flags = prop_oneof![Just(0_u8), Just(4), Just(5), Just(1), Just(4 | 8), Just(4 | 8 | 0x20), any::<u8>()];
    let payload = prop_oneof![
        Just(FIELDS.to_vec()),
        proptest::collection::vec(any::<u8>(), 0..30),
        proptest::collection::vec(0x82_u8..0xbf, 0..9),
        (0_usize..20).prop_map(|length| vec![0; length]),
    ];
    (0_u8..11, flags, 0_u32..8, payload).prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload))
}

proptest! {
    #[test]
    fn no_bytes_break_it_and_what_passes_is_unchanged(bytes: Vec<u8>, size in 1_usize..40, room in 1_usize..40) {
        holds(&bytes, size, room)?;
    }

    #[test]
    fn no_frames_break_it_either(
        frames in proptest::collection::vec(any_frame(), 0..12),
        size in 1_usize..40,
        room in 1_usize..40,
        cut in 0_usize..40,
    ) {
        let bytes = frames.concat();
        holds(&bytes[..bytes.len().saturating_sub(cut)], size, room)?;
    }
}
