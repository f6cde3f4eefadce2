//! The little DER that the provider writes: a certificate that vouches for itself.

use std::io;

use crate::demo::provider::keys::Key;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// `sha256WithRSAEncryption` with its NULL parameter (RFC 4055, section 5).
const SHA256_WITH_RSA: [u8; 13] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00];
/// `id-at-commonName` (RFC 5280, appendix A.1).
const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];

fn write(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    let bytes = content.len().to_be_bytes();
    let significant = bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
    match (significant.as_slice(), u8::try_from(significant.len())) {
        ([], _) => out.push(0),
        ([short], _) if *short < 0x80 => out.push(*short),
        (long, count) => {
            out.push(0x80 | count.unwrap_or(0x7f));
            out.extend_from_slice(long);
        }
    }
    out.extend(content);
    out
}

/// A certificate for the RSA key `key`, signed by itself (RFC 5280, section 4.1): what an attacker puts into `x5c`.
pub(crate) fn own_certificate(key: &Key) -> io::Result<Vec<u8>> {
    let algorithm = write(SEQUENCE, &[&SHA256_WITH_RSA]);
    let common_name = write(SEQUENCE, &[&COMMON_NAME, &write(UTF8_STRING, &[b"attacker"])]);
    let name = write(SEQUENCE, &[&write(SET, &[&common_name])]);
    let validity = write(SEQUENCE, &[&write(UTC_TIME, &[b"250101000000Z"]), &write(UTC_TIME, &[b"491231235959Z"])]);
    let serial = write(INTEGER, &[&[1]]);
    let to_be_signed = write(SEQUENCE, &[&serial, &algorithm, &name, &validity, &name, &key.spki()?]);
    let signature = write(BIT_STRING, &[&[0], &key.sign(&to_be_signed)?]);
    Ok(write(SEQUENCE, &[&to_be_signed, &algorithm, &signature]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::provider::options::SigningAlgorithm;
    use crate::jose::der::read;

    #[test]
    fn lengths_are_written_in_their_shortest_form() {
        assert_eq!(write(INTEGER, &[]), [2, 0]);
        assert_eq!(write(INTEGER, &[&[7; 127]])[..2], [2, 127]);
        assert_eq!(write(INTEGER, &[&[7; 128]])[..3], [2, 0x81, 128]);
        assert_eq!(write(INTEGER, &[&[7; 300]])[..4], [2, 0x82, 1, 44]);
        assert_eq!(read(INTEGER, &write(INTEGER, &[&[7; 300]])).unwrap().0, [7; 300]);
    }

    #[test]
    fn the_certificate_verifies_against_the_key_inside_it() {
        let key = Key::generate(SigningAlgorithm::Rs256).unwrap();
        let certificate = own_certificate(&key).unwrap();
        let (outer, rest) = read(SEQUENCE, &certificate).unwrap();
        assert!(rest.is_empty());
        let (inner, after) = read(SEQUENCE, outer).unwrap();
        let signed = &outer[..outer.len() - after.len()];
        let (_, after) = read(SEQUENCE, after).unwrap();
        let (signature, _) = read(BIT_STRING, after).unwrap();
        assert!(key.verifies(signed, &signature[1..]));
        assert!(inner.ends_with(&key.spki().unwrap()));
    }
}
