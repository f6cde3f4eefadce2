//! Proofs of possession that bring their own key: `DPoP` (RFC 9449, section 4), checked as far as that needs no memory.
//!
//! Rules, each with a test; the numbers are those of RFC 9449, section 4.3:
//! 1. `typ` is `dpop+jwt` (4); `alg` is asymmetric and one of ours (5); the rules of [`super::jws`] hold (3).
//! 2. `jwk` is a public key that fits `alg` (7) and made the signature (6).
//! 3. `htm` is the method and `htu` the URL of the request, less query and fragment (8, 9).
//! 4. `iat` is near now (11), `jti` is a text of a size that can be remembered (2, 12), and `ath` is the token's hash (section 7.1).
//!
//! That `jti` was not there before, and that the token is bound to the key, is for the caller to see to.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use url::Url;

use super::jwk::Jwk;
use super::jws::Jws;
use crate::base::clock::Timestamp;

/// The longest proof that is read, in bytes: an RSA key of 8192 bits and its signature fit.
const LONGEST: usize = 8 * 1024;
/// The longest `jti`, in bytes.
const LONGEST_ID: usize = 256;
/// How long ago a proof may have been made, in seconds: it is made for one request.
pub const OLDEST_SECONDS: u64 = 120;
/// How far in the future it may have been made, in seconds: clocks differ.
pub const NEWEST_SECONDS: u64 = 60;
/// Members of a JWK that no public key has (RFC 7518, section 6; RFC 8037, section 2).
const PRIVATE: &[&str] = &["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// What a proof has to be about.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    /// The request's method.
    pub method: &'a str,
    /// The request's URL as the client knows it.
    pub url: &'a str,
    /// SHA-256 of the token that it goes with.
    pub token_hash: &'a [u8],
    /// When it came.
    pub now: Timestamp,
}

/// A proof that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The thumbprint of the key that made it (RFC 7638), in base64url.
    pub thumbprint: String,
    /// Its own name (`jti`), which may be there once.
    pub id: String,
}

/// Checks a proof.
///
/// # Errors
/// Which rule is broken; never holds any of the text.
pub fn check(proof: &str, demand: &Demand<'_>) -> Result<Proven, &'static str> {
    let read = Jws::parse_with_header(proof, LONGEST, &["dpop+jwt"]);
    let (header, jws) = read.map_err(|_| "the proof can't be read, or is signed in a way that is not taken")?;
    if jws.kind().is_none() {
        return Err("the proof does not say that it is one (typ)");
    }
    let key = header.get("jwk").and_then(Value::as_object).ok_or("the proof has no key")?;
    if PRIVATE.iter().any(|name| key.contains_key(*name)) {
        return Err("the proof's key is no public one");
    }
    let public = Jwk::parse(key).ok_or("the proof's key is of a kind that is not taken")?;
    let claims = jws.verify(&public).map_err(|_| "the proof's signature does not fit its key")?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("htm") != Some(demand.method) {
        return Err("the proof is for another method (htm)");
    }
    if !text("htu").is_some_and(|url| is_same(url, demand.url)) {
        return Err("the proof is for another address (htu)");
    }
    let issued = claims.get("iat").and_then(Value::as_u64).ok_or("the proof does not say when it was made (iat)")?;
    let now = demand.now.seconds();
    if issued > now.saturating_add(NEWEST_SECONDS) || issued.saturating_add(OLDEST_SECONDS) < now {
        return Err("the proof was made too long ago, or in the future (iat)");
    }
    if text("ath") != Some(URL_SAFE_NO_PAD.encode(demand.token_hash).as_str()) {
        return Err("the proof is for another token (ath)");
    }
    let id = text("jti").filter(|id| !id.is_empty() && id.len() <= LONGEST_ID).ok_or("the proof has no name (jti)")?;
    let thumbprint = thumbprint(key).ok_or("the proof's key has no thumbprint")?;
    Ok(Proven { thumbprint, id: id.to_owned() })
}

/// The thumbprint of a public key: SHA-256 over its needed members in alphabetical order, without white space (RFC 7638, section 3).
pub fn thumbprint(key: &Map<String, Value>) -> Option<String> {
    let needed: &[&str] = match key.get("kty")?.as_str()? {
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        "RSA" => &["e", "kty", "n"],
        _ => return None,
    };
    let mut members = Vec::with_capacity(needed.len());
    for name in needed {
        let value = key.get(*name)?.as_str()?;
        members.push(format!("\"{name}\":{}", Value::from(value)));
    }
    let text = format!("{{{}}}", members.join(","));
    Some(URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes())))
}

/// Whether two URLs are the same once both are in normal form, query and fragment aside (RFC 3986, section 6.2.2).
fn is_same(given: &str, asked: &str) -> bool {
    let normal = |text: &str| {
        let mut url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        url.set_query(None);
        url.set_fragment(None);
        Some(url)
    };
    normal(given).is_some_and(|given| normal(asked).is_some_and(|asked| given == asked))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::algorithm::Algorithm;
    use super::super::testing::TestKey;
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const URL: &str = "https://api.example.com/orders";

    fn demand(hash: &[u8]) -> Demand<'_> {
        Demand { method: "GET", url: URL, token_hash: hash, now: Timestamp::from_seconds(NOW) }
    }

    fn compact(key: &TestKey, algorithm: Algorithm, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(algorithm, signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn parts(algorithm: Algorithm) -> (Value, Value) {
        let mut jwk = TestKey::for_algorithm(algorithm).jwk("k");
        jwk.as_object_mut().unwrap().remove("kid");
        let ath = URL_SAFE_NO_PAD.encode(digest(&SHA256, b"token"));
        (
            json!({"typ": "dpop+jwt", "alg": algorithm.name(), "jwk": jwk}),
            json!({"jti": "one", "htm": "GET", "htu": URL, "iat": NOW, "ath": ath}),
        )
    }

    fn outcome(header: &Value, claims: &Value) -> Result<Proven, &'static str> {
        let key = TestKey::for_algorithm(Algorithm::Es256);
        check(&compact(key, Algorithm::Es256, header, claims), &demand(digest(&SHA256, b"token").as_ref()))
    }

    #[test]
    fn a_good_proof_of_every_algorithm_holds() {
        for algorithm in Algorithm::ALL {
            let (header, claims) = parts(algorithm);
            let text = compact(TestKey::for_algorithm(algorithm), algorithm, &header, &claims);
            let proven = check(&text, &demand(digest(&SHA256, b"token").as_ref())).unwrap();
            assert_eq!(proven.thumbprint, thumbprint(header["jwk"].as_object().unwrap()).unwrap());
            assert_eq!(proven.id, "one");
        }
    }

    /// RFC 7638, section 3.1.
    #[test]
    fn the_thumbprint_is_that_of_the_standard() {
        let key = json!({"kty": "RSA", "alg": "RS256", "kid": "2011-04-29", "e": "AQAB",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"});
        assert_eq!(thumbprint(key.as_object().unwrap()).unwrap(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn what_is_about_another_request_is_no_proof() {
        let (header, good) = parts(Algorithm::Es256);
        for url in [
            "https://API.example.com:443/orders",
            "https://api.example.com/orders?page=2",
            "https://api.example.com/orders#x",
        ] {
            let mut claims = good.clone();
            claims["htu"] = json!(url);
            assert!(outcome(&header, &claims).is_ok(), "{url}");
        }
        for (name, value) in [
            ("htm", json!("POST")),
            ("htm", json!("get")),
            ("htm", json!(["GET"])),
            ("htm", Value::Null),
            ("htu", json!("http://api.example.com/orders")),
            ("htu", json!("https://api.example.com/orders/")),
            ("htu", json!("https://api.example.com.evil/orders")),
            ("htu", json!("/orders")),
            ("htu", Value::Null),
            ("iat", json!(NOW - OLDEST_SECONDS - 1)),
            ("iat", json!(NOW + NEWEST_SECONDS + 1)),
            ("iat", json!(u64::MAX)),
            ("iat", json!(1.8e9)),
            ("iat", json!("1800000000")),
            ("iat", Value::Null),
            ("ath", json!(URL_SAFE_NO_PAD.encode(digest(&SHA256, b"other")))),
            ("ath", Value::Null),
            ("jti", json!("")),
            ("jti", json!(7)),
            ("jti", json!("j".repeat(LONGEST_ID + 1))),
            ("jti", Value::Null),
        ] {
            let mut claims = good.clone();
            claims[name] = value.clone();
            assert!(outcome(&header, &claims).is_err(), "{name}: {value}");
        }
    }

    #[test]
    fn a_header_of_another_kind_or_key_is_no_proof() {
        let (good, claims) = parts(Algorithm::Es256);
        let other = TestKey::fresh_p256().jwk("k");
        let mut private = good["jwk"].clone();
        private["d"] = json!("AAAA");
        let rsa = TestKey::for_algorithm(Algorithm::Rs256).jwk("k");
        for (name, value) in [
            ("typ", json!("JWT")),
            ("typ", json!("at+jwt")),
            ("typ", Value::Null),
            ("alg", json!("none")),
            ("alg", json!("HS256")),
            ("alg", json!("ES384")),
            ("jwk", other),
            ("jwk", rsa),
            ("jwk", private),
            ("jwk", json!({"kty": "oct", "k": "AAAA"})),
            ("jwk", json!("text")),
            ("jwk", Value::Null),
        ] {
            let mut header = good.clone();
            header[name] = value.clone();
            assert!(outcome(&header, &claims).is_err(), "{name}: {value}");
        }
        let mut bare = good;
        bare.as_object_mut().unwrap().remove("typ");
        assert!(outcome(&bare, &claims).is_err());
        assert!(check("", &demand(&[])).is_err() && check(&"a".repeat(LONGEST + 1), &demand(&[])).is_err());
    }
}
