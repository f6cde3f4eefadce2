//! The URL that ends the provider's own session (`OpenID` Connect RP-Initiated Logout 1.0, section 2).

use url::Url;

/// The end-session URL. `client_id` goes along always, for the hint may be missing.
pub(super) fn url(
    endpoint: &Url,
    client_id: &str,
    id_token_hint: Option<&str>,
    post_logout_redirect_uri: &str,
    state: &str,
) -> String {
    let mut url = endpoint.clone();
    let mut query = url.query_pairs_mut();
    if let Some(hint) = id_token_hint {
        query.append_pair("id_token_hint", hint);
    }
    query.append_pair("client_id", client_id);
    query.append_pair("post_logout_redirect_uri", post_logout_redirect_uri);
    query.append_pair("state", state);
    drop(query);
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_has_what_the_provider_needs_and_keeps_its_own_query() {
        let endpoint = Url::parse("https://idp.example/end?p=policy").unwrap();
        let text = url(&endpoint, "app&x", Some("a.b.c"), "https://app.example/?x=1&y", "st");
        let pairs: Vec<_> = Url::parse(&text).unwrap().query_pairs().into_owned().collect();
        let expected = [
            ("p", "policy"),
            ("id_token_hint", "a.b.c"),
            ("client_id", "app&x"),
            ("post_logout_redirect_uri", "https://app.example/?x=1&y"),
            ("state", "st"),
        ];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(!url(&endpoint, "app", None, "https://app.example/", "st").contains("id_token_hint"));
    }
}
