//! Unguessable values from the operating system's generator, by way of aws-lc.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The generator of the operating system failed, so nothing that needs a secret may go on.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandomness;

/// `N` random bytes.
pub fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut out = [0_u8; N];
    aws_lc_rs::rand::fill(&mut out).map_err(|_| NoRandomness)?;
    Ok(out)
}

/// `N` values as [`token`] makes them, in one draw: each draw has a price of its own.
pub fn tokens<const N: usize>() -> Result<[String; N], NoRandomness> {
    let mut values = [[0_u8; 32]; N];
    aws_lc_rs::rand::fill(values.as_flattened_mut()).map_err(|_| NoRandomness)?;
    Ok(values.map(|value| URL_SAFE_NO_PAD.encode(value)))
}

/// 256 random bits in base64url without padding: 43 characters, all of them unreserved in a URL (RFC 7636, section 4.1).
pub fn token() -> Result<String, NoRandomness> {
    Ok(URL_SAFE_NO_PAD.encode(bytes::<32>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_unreserved_and_never_equal() {
        let (one, [two, three]) = (token().unwrap(), tokens().unwrap());
        assert_eq!(one.len(), 43);
        assert!(one.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert!(one != two && two != three);
        assert_eq!(three.len(), 43);
    }
}
