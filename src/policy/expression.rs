//! Evaluates a rule's expression over one request: what it sees, how many turns its loops may take, and what an error means.
//!
//! 1. An address is there only when the provider verified it and it is plain: `endsWith("@corp.com")` then means what it says.
//! 2. What is missing is an error, and an error never admits; in what denies it counts as met.
//! 3. A value of another shape than what is done with it is an error too (`shapes`).
//! 4. Loops have so many turns together. Texts that are put together have a bound.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt, DOUBLE_TYPE, INT_TYPE,
    STRING_TYPE, Type, UINT_TYPE,
};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError, Value as CelValue};
use ipnet::IpNet;
use serde_json::{Map, Value};

use super::asker::Asker;
use super::condition::Truth;
use super::names::plain_email;
use super::{shapes, wanted};
use crate::config::expression::{Expression, PATTERN_NAME, PLUS, PRESENCE_NAME, TURN_NAME};
use crate::config::settings::Pattern;

/// The most turns that all loops of one evaluation may take.
const MAX_TURNS: u32 = 5000;
/// The longest text that `+` puts together, in bytes.
const MAX_TEXT: usize = 4096;

/// The language as rules have it: its own functions, and ours.
static LANGUAGE: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(language()));

static PATTERN: Type = Type::new_unspecified_type("pattern");

/// Whether `expression` holds. Whatever goes wrong is unclear.
pub fn truth(expression: &Expression, asker: &Asker<'_>) -> Truth {
    let seen = Seen::new(expression, asker);
    let mut context = Context::with_env(Arc::clone(&LANGUAGE));
    context.set_variable_resolver(&seen);
    let outcome = CelValue::resolve_val(expression.tree(), &context);
    let held = outcome.ok().and_then(|value| value.downcast_ref::<CelBool>().map(|held| *held.inner()));
    match held {
        Some(held) if seen.turns.load(Ordering::Relaxed) > 0 => held.into(),
        _ => Truth::Unclear,
    }
}

/// What an expression sees. Lists and tables are made when they are first asked for.
struct Seen<'a> {
    asker: &'a Asker<'a>,
    patterns: Vec<Compiled>,
    /// How many turns are left; none when they were used up.
    turns: AtomicU32,
    groups: OnceLock<CelList<'a>>,
    roles: OnceLock<CelList<'a>>,
    scopes: OnceLock<CelList<'a>>,
    amr: OnceLock<CelList<'a>>,
    certificate: OnceLock<CelList<'a>>,
    claims: OnceLock<CelMap<'a>>,
}

impl<'a> Seen<'a> {
    fn new(expression: &Expression, asker: &'a Asker<'a>) -> Self {
        Self {
            asker,
            patterns: expression.patterns().iter().cloned().map(Compiled).collect(),
            turns: AtomicU32::new(MAX_TURNS),
            groups: OnceLock::new(),
            roles: OnceLock::new(),
            scopes: OnceLock::new(),
            amr: OnceLock::new(),
            certificate: OnceLock::new(),
            claims: OnceLock::new(),
        }
    }

    fn request(&self, field: &str) -> Option<CowVal<'_, '_>> {
        let asker = self.asker;
        match field {
            "method" => Some(text(asker.method)),
            "host" => Some(text(asker.host)),
            "path" => Some(text(asker.path)),
            "client_ip" => Some(CowVal::owned(CelString::from(asker.client?.to_string()))),
            "client_certificate" => Some(CowVal::Borrowed(
                self.certificate.get_or_init(|| list(asker.certificate.map_or(&[], |shown| shown.names()))),
            )),
            _ => None,
        }
    }

    fn principal(&self, field: &str) -> Option<CowVal<'_, '_>> {
        let principal = self.asker.principal?;
        match field {
            "provider" => Some(text(&principal.provider)),
            "issuer" => Some(text(&principal.issuer)),
            "subject" => Some(text(&principal.subject)),
            "email" => {
                let verified = principal.email.as_deref().filter(|_| principal.email_verified)?;
                let (local, domain) = plain_email(verified)?;
                Some(CowVal::owned(CelString::from(format!("{local}@{domain}"))))
            }
            "preferred_username" => principal.preferred_username.as_deref().map(text),
            "name" => principal.name.as_deref().map(text),
            "groups" => Some(CowVal::Borrowed(self.groups.get_or_init(|| list(&principal.groups)))),
            "roles" => Some(CowVal::Borrowed(self.roles.get_or_init(|| list(&principal.roles)))),
            "scopes" => Some(CowVal::Borrowed(self.scopes.get_or_init(|| list(&principal.scopes)))),
            "acr" => wanted::acr(principal).map(text),
            "amr" => Some(CowVal::Borrowed(self.amr.get_or_init(|| {
                CelList::from(wanted::amr(principal).map(|method| boxed(CelString::from(method))).collect::<Vec<_>>())
            }))),
            "auth_age" => {
                let age = self.asker.now.since(self.asker.authenticated?).as_secs();
                Some(CowVal::owned(CelInt::from(i64::try_from(age).unwrap_or(i64::MAX))))
            }
            "claims" => Some(CowVal::Borrowed(self.claims.get_or_init(|| table(&principal.claims)))),
            _ => None,
        }
    }

    fn field(&self, name: &str) -> Option<CowVal<'_, '_>> {
        match name.split_once('.')? {
            ("request", field) => self.request(field),
            ("principal", field) => self.principal(field),
            _ => None,
        }
    }

    /// Whether there may be another turn.
    fn turn(&self) -> bool {
        let left = self.turns.load(Ordering::Relaxed).saturating_sub(1);
        self.turns.store(left, Ordering::Relaxed);
        left > 0
    }
}

impl VariableResolver for Seen<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        if name == TURN_NAME {
            return Some(CowVal::owned(CelBool::from(self.turn())));
        }
        if let Some(number) = name.strip_prefix(PATTERN_NAME) {
            return self.patterns.get(number.parse::<usize>().ok()?).map(|pattern| CowVal::Borrowed(pattern as _));
        }
        if let Some(field) = name.strip_prefix(PRESENCE_NAME) {
            return Some(CowVal::owned(CelBool::from(self.field(field).is_some())));
        }
        self.field(name)
    }
}

fn text(text: &str) -> CowVal<'_, '_> {
    CowVal::owned(CelString::from(text))
}

fn boxed<'v>(value: impl Val + 'v) -> Box<dyn Val + 'v> {
    Box::new(value)
}

fn list(texts: &[String]) -> CelList<'_> {
    CelList::from(texts.iter().map(|text| boxed(CelString::from(text.as_str()))).collect::<Vec<_>>())
}

fn table(claims: &Map<String, Value>) -> CelMap<'_> {
    let entries = claims.iter().map(|(name, value)| (CelMapKey::String(CelString::from(name.as_str())), json(value)));
    CelMap::from(entries.collect::<HashMap<_, _>>())
}

/// A claim as the language has it: whole numbers and fractions are two kinds.
fn json(value: &Value) -> Box<dyn Val + '_> {
    match value {
        Value::Null => boxed(CelNull),
        Value::Bool(flag) => boxed(CelBool::from(*flag)),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => boxed(CelInt::from(whole)),
            (None, Some(large)) => boxed(CelUInt::from(large)),
            (None, None) => boxed(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Value::String(text) => boxed(CelString::from(text.as_str())),
        Value::Array(entries) => boxed(CelList::from(entries.iter().map(json).collect::<Vec<_>>())),
        Value::Object(entries) => boxed(table(entries)),
    }
}

/// A pattern as a value of the language.
#[derive(Clone, Debug)]
struct Compiled(Pattern);

impl Val for Compiled {
    fn get_type(&self) -> &Type {
        &PATTERN
    }

    fn cel_type() -> &'static Type {
        &PATTERN
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn std::any::Any> {
        Some(self)
    }
}

impl StaticVal for Compiled {}

type Arguments<'b, 'v> = Vec<CowVal<'b, 'v>>;
type Outcome<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

fn language() -> Env {
    let mut env = Env::stdlib();
    let declared = [
        env.add_member_overload("matches", "text_matches", STRING_TYPE, vec![PATTERN.to_owned()], matches),
        env.add_overload("matches", "matches_text", vec![STRING_TYPE, PATTERN.to_owned()], matches),
        env.add_member_overload("inNetwork", "text_in_network", STRING_TYPE, vec![STRING_TYPE], in_network),
        env.add_overload(PLUS, "plus_int", vec![INT_TYPE, INT_TYPE], sum),
        env.add_overload(PLUS, "plus_uint", vec![UINT_TYPE, UINT_TYPE], sum),
        env.add_overload(PLUS, "plus_double", vec![DOUBLE_TYPE, DOUBLE_TYPE], sum),
        env.add_overload(PLUS, "plus_text", vec![STRING_TYPE, STRING_TYPE], join),
    ];
    // A function that could not be declared is one that every call of fails: nobody is admitted by it.
    for fault in declared.into_iter().chain(shapes::declare(&mut env)).filter_map(Result::err) {
        tracing::error!(%fault, "a function of the expression language can't be declared");
    }
    env
}

fn two<'a, 'b, 'v>(
    arguments: &'a Arguments<'b, 'v>,
) -> Result<(&'a CowVal<'b, 'v>, &'a CowVal<'b, 'v>), ExecutionError> {
    match arguments.as_slice() {
        [first, second] => Ok((first, second)),
        _ => Err(ExecutionError::missing_argument_or_target()),
    }
}

fn text_of<'a>(value: &'a CowVal<'_, '_>) -> Result<&'a str, ExecutionError> {
    value.downcast_ref::<CelString<'_>>().map(CelString::inner).ok_or_else(ExecutionError::missing_argument_or_target)
}

#[allow(clippy::needless_pass_by_value, reason = "the language calls its functions so")]
fn matches<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let (whole, pattern) = two(&arguments)?;
    let Some(pattern) = pattern.downcast_ref::<Compiled>() else {
        return Err(ExecutionError::missing_argument_or_target());
    };
    let is_match = pattern.0.is_match(text_of(whole)?);
    Ok(CowVal::owned(CelBool::from(is_match)))
}

#[allow(clippy::needless_pass_by_value, reason = "the language calls its functions so")]
fn in_network<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let (address, network) = two(&arguments)?;
    let wrong = |_| ExecutionError::function_error("inNetwork", "no address");
    let address: IpAddr = text_of(address)?.parse().map_err(wrong)?;
    let network = text_of(network)?;
    let is_in = match (network.parse::<IpNet>(), network.parse::<IpAddr>()) {
        (Ok(network), _) => network.contains(&address),
        (_, Ok(only)) => only == address,
        _ => return Err(ExecutionError::function_error("inNetwork", "no network")),
    };
    Ok(CowVal::owned(CelBool::from(is_in)))
}

#[allow(clippy::needless_pass_by_value, reason = "the language calls its functions so")]
fn sum<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let (one, other) = two(&arguments)?;
    let adder = one.as_adder().ok_or_else(ExecutionError::missing_argument_or_target)?;
    Ok(CowVal::Owned(adder.add(other.as_ref())?.into_owned()))
}

#[allow(clippy::needless_pass_by_value, reason = "the language calls its functions so")]
fn join<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let (one, other) = two(&arguments)?;
    let (one, other) = (text_of(one)?, text_of(other)?);
    if one.len() + other.len() > MAX_TEXT {
        return Err(ExecutionError::function_error("+", "the text is too long"));
    }
    Ok(CowVal::owned(CelString::from(format!("{one}{other}"))))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::base::clock::{Timestamp, instant};
    use crate::identity::principal::Principal;

    fn alice() -> Principal {
        let claims = json!({
            "level": 3, "ratio": 0.5, "active": true, "dept": "it", "groups": "admin,x", "nothing": null,
            "acr": "gold", "amr": ["pwd", "mfa"], "orgs": [{"id": "a", "roles": ["owner"]}, {"id": "b"}],
            "https://x.example/unit": {"name": "north"},
        });
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Principal {
            provider: "corp".into(),
            issuer: "https://login.example.com".to_owned(),
            subject: "1".to_owned(),
            email: Some("alice@Corp.com".to_owned()),
            email_verified: true,
            name: Some("Alice".to_owned()),
            groups: owned(&["staff", "team-red"]),
            roles: owned(&["admin"]),
            scopes: owned(&["orders:read"]),
            claims: claims.as_object().unwrap().clone(),
            ..Principal::default()
        }
    }

    fn judged(source: &str, principal: &Principal) -> Truth {
        let expression = Expression::parse(source).unwrap_or_else(|fault| panic!("{source}: {fault:?}"));
        let asker = Asker {
            principal: Some(principal),
            authenticated: Some(Timestamp::from_seconds(900)),
            client: Some("10.1.2.3".parse().unwrap()),
            host: "app.example.com",
            path: "/reports/7",
            now: Timestamp::from_seconds(1000),
            ..Asker::NOBODY
        };
        truth(&expression, &asker)
    }

    #[test]
    fn an_expression_sees_the_request_and_the_person() {
        for source in [
            "request.method == 'GET' && request.host == 'app.example.com'",
            "request.path.startsWith('/reports/') && request.path.matches('/reports/[0-9]+')",
            "matches(request.path, '/reports/7') && !request.path.matches('reports')",
            "request.client_ip == '10.1.2.3' && request.client_ip.inNetwork('10.0.0.0/8')",
            "request.client_ip.inNetwork('10.1.2.3') && !request.client_ip.inNetwork('2001:db8::/32')",
            "size(request.client_certificate) == 0",
            "principal.provider == 'corp' && principal.subject == '1' && principal.issuer.endsWith('.example.com')",
            "principal.email == 'alice@corp.com' && principal.email.endsWith('@corp.com')",
            "has(principal.email) && !has(principal.preferred_username) && has(principal.name)",
            "'staff' in principal.groups && !('admin' in principal.groups) && 'admin' in principal.roles",
            "principal.groups.exists(g, g.matches('team-.+')) && principal.groups.all(g, size(g) > 1)",
            "principal.groups.exists_one(g, g == 'staff') && 'orders:read' in principal.scopes",
            "principal.acr == 'gold' && 'mfa' in principal.amr && principal.auth_age == 100",
            "principal.claims.level >= 3 && principal.claims.level < 3.5 && principal.claims.active",
            "principal.claims.orgs.exists(o, o.id == 'a' && 'owner' in o.roles)",
            "principal.claims['https://x.example/unit'].name == 'north'",
            "has(principal.claims.dept) && !has(principal.claims.other) && 'dept' in principal.claims",
            "principal.claims.dept + '-' + principal.subject == 'it-1' && 1 + 2 == 3 && 1.5 + 1.0 == 2.5",
            "principal.groups.all(g, principal.roles.all(r, r != g))",
            "principal.claims.nothing == null",
        ] {
            assert_eq!(judged(source, &alice()), Truth::Met, "{source}");
        }
    }

    #[test]
    fn what_goes_wrong_never_holds() {
        for source in [
            "principal.preferred_username == 'x'",
            "!(principal.preferred_username == 'x')",
            "principal.claims.other != 'x'",
            "principal.claims.level > 'x'",
            "'admin' in principal.claims.groups",
            "!('admin' in principal.claims.groups)",
            "principal.claims.dept",
            "principal.claims.orgs[7].id == 'a'",
            "1 / 0 == 0 || principal.claims.other == 'x'",
            "principal.claims.level + '1' == '31'",
            "principal.claims.orgs + principal.claims.orgs == []",
            "principal.claims.dept.inNetwork('10.0.0.0/8')",
            "principal.claims.level.matches('3')",
            "int(principal.claims.dept) == 1",
            "principal.claims.active ? principal.claims.dept : false",
            "principal.subject == 1",
            "principal.groups == 'staff'",
        ] {
            assert_eq!(judged(source, &alice()), Truth::Unclear, "{source}");
        }
        for source in ["false", "principal.subject == '2'", "'Staff' in principal.groups"] {
            assert_eq!(judged(source, &alice()), Truth::Unmet, "{source}");
        }
    }

    #[test]
    fn an_address_that_nobody_verified_is_not_there() {
        let source = "principal.email.endsWith('@corp.com')";
        let with = |email: &str, email_verified| Principal { email: Some(email.to_owned()), email_verified, ..alice() };
        assert_eq!(judged(source, &with("a@corp.com", true)), Truth::Met);
        for (email, verified) in [("a@corp.com", false), ("a@evil.com@corp.com", true), ("\"x\"@corp.com", true)] {
            assert_eq!(judged(source, &with(email, verified)), Truth::Unclear, "{email}");
            assert_eq!(judged("has(principal.email)", &with(email, verified)), Truth::Unmet, "{email}");
        }
    }

    #[test]
    fn loops_end_and_texts_stay_small() {
        let many = Principal { groups: (0..1000).map(|number| format!("g{number}")).collect(), ..alice() };
        assert_eq!(judged("principal.groups.all(g, g != 'x')", &many), Truth::Met);
        let begun = instant();
        let square = "principal.groups.all(a, principal.groups.all(b, a != 'x' && b != 'x'))";
        assert_eq!(judged(square, &many), Truth::Unclear, "a million turns");
        // Neither is an outcome that came about without the turns that were left out.
        assert_eq!(judged(&format!("!({square})"), &many), Truth::Unclear);
        assert_eq!(judged(&format!("{square} || true"), &many), Truth::Unclear);
        assert!(begun.elapsed() < Duration::from_secs(5));
        let long = Principal { name: Some("n".repeat(3000)), ..alice() };
        assert_eq!(judged("principal.name + principal.name != ''", &long), Truth::Unclear);
    }

    proptest! {
        #[test]
        fn any_claims_are_judged(text in "(?s).{0,20}", number in any::<f64>(), keys in proptest::collection::vec("[a-z]{1,3}", 0..4)) {
            let mut who = alice();
            who.claims.insert("x".to_owned(), json!({"t": text, "n": number, "k": keys}));
            for source in [
                "principal.claims.x.t == 'a' || principal.claims.x.n > 1.0",
                "'a' in principal.claims.x.k && principal.claims.x.k.exists(k, k == principal.claims.x.t)",
            ] {
                let _truth = judged(source, &who);
            }
        }
    }
}
