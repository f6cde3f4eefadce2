//! The name of a request: taken from a trusted proxy, or made here without asking the operating system each time.

use std::cell::Cell;
use std::sync::Arc;

use http::HeaderValue;

use crate::base::random;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The first half names the thread, the second one counts; both begin at random. Names need to be unique, not secret.
#[derive(Clone, Copy)]
struct Counter {
    thread: u64,
    count: u64,
}

thread_local! {
    static COUNTER: Cell<Counter> = Cell::new(Counter::seeded());
}

impl Counter {
    fn seeded() -> Self {
        // Without randomness names may repeat after a restart, which harms nobody but the reader of a log.
        let half = || random::bytes().map_or(0, u64::from_be_bytes);
        Self { thread: half(), count: half() }
    }
}

/// The name given by a trusted proxy when it has the form of one, else a new one: 32 lower-case hex digits.
pub(super) fn choose(given: Option<&HeaderValue>) -> Arc<str> {
    given.and_then(|given| accept(given.as_bytes())).unwrap_or_else(fresh)
}

/// 32 hex digits, or a UUID (RFC 9562, section 4), in either case.
fn accept(given: &[u8]) -> Option<Arc<str>> {
    if given.len() != 32 && given.len() != 36 {
        return None;
    }
    let mut name = [0_u8; 32];
    let mut digits = given.iter().enumerate().filter(|(at, byte)| {
        let is_hyphen = given.len() == 36 && **byte == b'-' && matches!(*at, 8 | 13 | 18 | 23);
        !is_hyphen
    });
    for place in &mut name {
        *place = digits.next().map(|(_, byte)| byte.to_ascii_lowercase()).filter(u8::is_ascii_hexdigit)?;
    }
    if digits.next().is_some() {
        return None;
    }
    std::str::from_utf8(&name).ok().map(Arc::from)
}

/// A new name: 32 lower-case hex digits.
pub fn fresh() -> Arc<str> {
    let Counter { thread, count } = COUNTER.get();
    let count = count.wrapping_add(1);
    COUNTER.set(Counter { thread, count });
    let bits = u128::from(thread) << 64 | u128::from(mix(count));
    let mut name = [0_u8; 32];
    for (place, shift) in name.iter_mut().zip((0..32).rev()) {
        let digit = bits >> (shift * 4) & 0xf;
        *place = usize::try_from(digit).ok().and_then(|digit| HEX.get(digit)).copied().unwrap_or(b'0');
    }
    Arc::from(std::str::from_utf8(&name).unwrap_or_default())
}

/// Spreads neighbours far apart and never maps two counts to one name (the finaliser of `SplitMix64`).
const fn mix(mut count: u64) -> u64 {
    count ^= count >> 30;
    count = count.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    count ^= count >> 27;
    count = count.wrapping_mul(0x94d0_49bb_1331_11eb);
    count ^ count >> 31
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn is_name(name: &str) -> bool {
        name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
    }

    #[test]
    fn new_names_never_repeat_on_any_thread() {
        let made = |_| std::thread::spawn(|| (0..1_000).map(|_| fresh()).collect::<Vec<_>>());
        let names: Vec<Arc<str>> =
            (0..4).map(made).collect::<Vec<_>>().into_iter().flat_map(|made| made.join().unwrap()).collect();
        assert!(names.iter().all(|name| is_name(name)));
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), 4_000);
    }

    #[test]
    fn a_sane_name_is_kept_and_others_are_not() {
        let chosen = |given: &str| choose(Some(&HeaderValue::from_str(given).unwrap())).to_string();
        let name = "0123456789abcdef0123456789abcdef";
        assert_eq!(chosen(name), name);
        assert_eq!(chosen("0123456789ABCDEF0123456789ABCDEF"), name);
        assert_eq!(chosen("01234567-89ab-cdef-0123-456789abcdef"), name);
        for odd in [
            "",
            "x",
            "0123456789abcdef0123456789abcdeg",
            "0123456789abcdef0123456789abcde",
            "0123456-789ab-cdef-0123-456789abcdef",
            "0123456789abcdef0123456789abcdef0123",
            "--------------------------------",
            "01234567-89ab-cdef-0123-456789abcde-",
        ] {
            let made = chosen(odd);
            assert!(is_name(&made) && made != name, "{odd}");
        }
    }
}
