//! Durations and sizes as people write them in a config: `"30s"`, `"8h"`, `"64KiB"`.

use std::time::Duration;

/// Reads `"500ms"`, `"30s"`, `"5m"`, `"8h"`, `"7d"`: one whole number and one unit.
///
/// # Errors
/// Says what a duration looks like when the text is none, or is too large to count in milliseconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let problem = || {
        format!(
            "`{text}` is no duration; write a whole number and a unit: \"500ms\", \"30s\", \"5m\", \"8h\" or \"7d\""
        )
    };
    let (number, unit) = split(text).ok_or_else(problem)?;
    let factor: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(problem()),
    };
    number.checked_mul(factor).map(Duration::from_millis).ok_or_else(problem)
}

/// Reads `"512B"`, `"64KiB"`, `"10MiB"`, `"1GiB"` into bytes.
///
/// # Errors
/// Says what a size looks like when the text is none, or does not fit 64 bits.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let problem =
        || format!("`{text}` is no size; write a whole number and a unit: \"512B\", \"64KiB\", \"10MiB\" or \"1GiB\"");
    let (number, unit) = split(text).ok_or_else(problem)?;
    let factor: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(problem()),
    };
    number.checked_mul(factor).ok_or_else(problem)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_written() {
        assert_eq!(parse_duration("30s").unwrap(), Duration::from_secs(30));
        assert_eq!(parse_duration("7d").unwrap(), Duration::from_hours(168));
        assert_eq!(parse_duration("500ms").unwrap(), Duration::from_millis(500));
        for bad in ["", "30", "s", "-1s", "1.5h", "1w", "99999999999999999999s", "18446744073709551615d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_read_as_written() {
        assert_eq!(parse_size("64KiB").unwrap(), 65_536);
        assert_eq!(parse_size("1GiB").unwrap(), 1 << 30);
        for bad in ["64", "64KB", "KiB", "17179869184GiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
