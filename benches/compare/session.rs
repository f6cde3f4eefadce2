//! A real sign-in: redirects followed, the provider's login form posted, the session's cookies taken.

use std::collections::BTreeMap;

use http::header::{LOCATION, SET_COOKIE};
use url::Url;

use crate::Outcome;
use crate::client::{Answer, Connection};

/// The most redirects and forms of one sign-in.
const MOST_STEPS: usize = 12;

/// What a browser keeps: cookies by the port that set them (all is on 127.0.0.1) and by name.
#[derive(Default)]
struct Jar {
    cookies: BTreeMap<(u16, String), String>,
}

impl Jar {
    fn keep(&mut self, port: u16, answer: &Answer) {
        for line in answer.headers.get_all(SET_COOKIE).iter().filter_map(|line| line.to_str().ok()) {
            let mut parts = line.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
            let key = (port, name.to_owned());
            if value.is_empty() || parts.any(|part| part.eq_ignore_ascii_case("max-age=0")) {
                self.cookies.remove(&key);
            } else {
                self.cookies.insert(key, value.to_owned());
            }
        }
    }

    fn header(&self, port: u16) -> String {
        let ours = self.cookies.iter().filter(|((at, _), _)| *at == port);
        ours.map(|((_, name), value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }
}

/// Signs `alice` in at the gateway at `origin` and gives the `Cookie` header of her session.
///
/// # Errors
/// When the way does not end in a 200 of the gateway, or passes without any provider having asked who she is.
pub(crate) async fn sign_in(origin: &Url) -> Outcome<String> {
    let home = port(origin);
    let mut jar = Jar::default();
    let (mut url, mut form, mut asked) = (origin.clone(), None, false);
    for _ in 0..MOST_STEPS {
        let mut connection = Connection::open(&url).await?;
        let answer = connection.ask(&url, Some(&jar.header(port(&url))), form.take()).await?;
        jar.keep(port(&url), &answer);
        if answer.status.is_redirection() {
            let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
            url = url.join(location.ok_or_else(|| format!("{url} redirects nowhere"))?)?;
        } else if answer.status.is_success() && port(&url) != home {
            let action = form_action(&answer.body).ok_or_else(|| format!("the page at {} has no form", url.path()))?;
            url = url.join(&action)?;
            form = Some("username=alice&password=any".to_owned());
            asked = true;
        } else if answer.status.is_success() && asked {
            return Ok(jar.header(home));
        } else {
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            return Err(format!("the sign-in ended at {} with {}:\n{body}", url.path(), answer.status).into());
        }
    }
    Err(format!("the sign-in goes on after {MOST_STEPS} steps, now at {}", url.path()).into())
}

fn port(url: &Url) -> u16 {
    url.port_or_known_default().unwrap_or(80)
}

/// Where the first form of a page posts to.
fn form_action(page: &[u8]) -> Option<String> {
    let page = String::from_utf8_lossy(page);
    let form = page.split_once("<form")?.1;
    let action = form.split_once("action=\"")?.1.split_once('"')?.0;
    Some(action.replace("&#38;", "&").replace("&#x26;", "&").replace("&amp;", "&"))
}
