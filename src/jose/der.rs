//! The little DER that JOSE needs: the numbers of a public RSA key.

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017, appendix A.1.1), big-endian, without leading zeros; `None` when it is none.
pub fn rsa_public(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (outer, _) = read(SEQUENCE, der)?;
    let (modulus, rest) = read(INTEGER, outer)?;
    let (exponent, _) = read(INTEGER, rest)?;
    let strip = |number: &'_ [u8]| number.iter().position(|byte| *byte != 0);
    Some((modulus.get(strip(modulus)?..)?, exponent.get(strip(exponent)?..)?))
}

/// The content of the element of this tag that `der` begins with, and what follows it.
pub(crate) fn read(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    if first < 0x80 {
        return rest.split_at_checked(usize::from(first));
    }
    let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
    let length = length.iter().try_fold(0_usize, |sum, byte| sum.checked_mul(256)?.checked_add(usize::from(*byte)))?;
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_short_or_of_another_kind_is_no_key() {
        let key = [0x30, 0x07, 0x02, 0x02, 0x00, 0x05, 0x02, 0x01, 0x03];
        assert_eq!(rsa_public(&key), Some((&[5_u8][..], &[3_u8][..])));
        for end in 0..key.len() {
            assert_eq!(rsa_public(&key[..end]), None, "{end}");
        }
        assert_eq!(rsa_public(&[0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
