//! Finds the route of a request: the most specific one, whatever their order in the config and however many there are.
//!
//! 1. A route that names the host beats every route that names none.
//! 2. Then an exact path beats a path below which it lies, and a longer such path a shorter one.
//! 3. Then a route that names the method beats one that takes all. A route that names GET takes HEAD too, unless another one on the
//!    same path names HEAD (RFC 9110, section 9.3.2: HEAD answers as GET would).
//! 4. A route whose methods don't fit is passed over, and the search goes on to less specific ones.
//! 5. A path that an upstream may read in several ways has a route under each reading, and all of them have to admit. The route of the
//!    form for matching names the upstream, and has to allow by name what is odd about the path.
//!
//! A lookup walks the segments of the path once, allocates nothing for a plain path, and costs the same for one route as for thousands.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use http::Method;

use crate::config::settings::{CsrfCheck, PathAllowances, PathPattern, RouteSettings, SignedOut};
use crate::forward::rewrite::{Rewrite, RewriteError};
use crate::gate::bearer::Acceptance;
use crate::gate::cors::Cors;
use crate::http::path::CanonicalPath;
use crate::policy::rule::Rule;

/// Who may pass where, and to which upstream, compiled.
#[derive(Clone, Debug)]
pub struct Route {
    /// How logs name it.
    pub name: Arc<str>,
    /// Who may pass.
    pub rule: Rule,
    /// Whether those whom the rule would forbid pass all the same, and the log says so.
    pub report_only: bool,
    /// What the others get.
    pub signed_out: SignedOut,
    /// Index into the settings' upstreams.
    pub upstream: usize,
    /// What becomes of the path; it is sent as it came when absent.
    pub rewrite: Option<Rewrite>,
    /// Odd paths it lets through.
    pub allowances: PathAllowances,
    /// Bytes of a request body; the plan's bound when absent.
    pub body_bytes: Option<u64>,
    /// Whose access tokens it takes; none's when absent, and `Authorization` is no credential of ours then.
    pub bearer: Option<Acceptance>,
    /// Whether an upstream's 401 has the session's tokens refreshed, and the request sent once more.
    pub retry_unauthorized: bool,
    /// Which pages of other origins may read its answers; when absent, that is left to the upstream.
    pub cors: Option<Cors>,
    /// What a request that changes something has to show; nothing when absent.
    pub csrf: Option<CsrfCheck>,
}

/// The route of another reading of a path.
#[derive(Clone, Debug)]
pub struct Other<'t> {
    /// The route.
    pub route: &'t Arc<Route>,
    /// The path as this reading has it.
    pub path: String,
}

/// Two routes that no request could choose between.
#[derive(Debug, thiserror::Error)]
#[error("the routes `{first}` and `{second}` are for the same host, path and methods; keep one of them")]
pub struct RouteTie {
    /// The one that came first.
    pub first: Arc<str>,
    /// The other.
    pub second: Arc<str>,
}

/// Why routes can't be compiled.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// Two of them tie.
    #[error(transparent)]
    Tie(#[from] RouteTie),
    /// What is to become of a path can't be read.
    #[error("the `rewrite` of the route `{route}`: {cause}")]
    Rewrite {
        /// The route.
        route: Arc<str>,
        /// What is wrong.
        cause: RewriteError,
    },
}

/// What a lookup found.
#[derive(Clone, Debug)]
pub enum Lookup<'t> {
    /// The route, and those of other readings of the path that differ from it. All of them have to admit.
    Found {
        /// The route of the form for matching: it names the upstream.
        route: &'t Arc<Route>,
        /// The routes of other readings; empty for nearly every request.
        also: Vec<Other<'t>>,
    },
    /// The path is odd in a way that its route does not allow. 400.
    Odd,
    /// No route, or none for one of the path's readings. 404, never an upstream.
    Nothing,
}

/// Every route of one config.
#[derive(Debug, Default)]
pub struct RouteTable {
    routes: Vec<Arc<Route>>,
    /// Its keys are the config's, so the hash need not withstand whoever chooses what is looked up.
    hosts: HashMap<Box<str>, Tree, RandomState>,
    any_host: Tree,
}

impl RouteTable {
    /// Compiles the routes of a config.
    ///
    /// # Errors
    /// When two routes tie, or a rewrite means nothing.
    pub fn compile(settings: &[RouteSettings]) -> Result<Self, RouteError> {
        let mut table = Self::default();
        for setting in settings {
            let index = table.routes.len();
            let tree = match &setting.host {
                Some(host) => table.hosts.entry(host.to_ascii_lowercase().into()).or_default(),
                None => &mut table.any_host,
            };
            let tie = tree.slot(&setting.path).add(index, setting.methods.as_deref());
            if let Some(first) = tie.and_then(|first| table.routes.get(first)) {
                return Err(RouteTie { first: Arc::clone(&first.name), second: Arc::clone(&setting.name) }.into());
            }
            let rewrite = setting.rewrite.as_ref().map(Rewrite::compile).transpose();
            let rewrite = rewrite.map_err(|cause| RouteError::Rewrite { route: Arc::clone(&setting.name), cause })?;
            table.routes.push(Arc::new(Route {
                name: Arc::clone(&setting.name),
                rule: Rule::compile(&setting.allow, &setting.deny),
                report_only: setting.report_only,
                signed_out: setting.signed_out,
                upstream: setting.upstream,
                rewrite,
                allowances: setting.allowances,
                body_bytes: setting.body_bytes,
                bearer: Acceptance::compile(setting),
                retry_unauthorized: setting.retry_unauthorized,
                cors: setting.cors.as_ref().map(Cors::compile),
                csrf: setting.csrf,
            }));
        }
        Ok(table)
    }

    /// The route for one reading of a path. `host` is in lower case, without a port.
    pub fn find(&self, host: &str, method: &Method, path: &str) -> Option<&Arc<Route>> {
        let by_host = if self.hosts.is_empty() { None } else { self.hosts.get(host) };
        let index = by_host.and_then(|tree| tree.find(method, path)).or_else(|| self.any_host.find(method, path))?;
        self.routes.get(index)
    }

    /// The route for a request, under every reading of its path.
    pub fn lookup(&self, host: &str, method: &Method, path: &CanonicalPath) -> Lookup<'_> {
        let Some(route) = self.find(host, method, path.matching()) else { return Lookup::Nothing };
        if !path.is_allowed_by(route.allowances) {
            return Lookup::Odd;
        }
        let mut also: Vec<Other<'_>> = Vec::new();
        for reading in path.other_readings() {
            let Some(other) = self.find(host, method, &reading) else { return Lookup::Nothing };
            let is_known = Arc::ptr_eq(other, route) || also.iter().any(|known| Arc::ptr_eq(known.route, other));
            // A rule that looks at the path is asked about each of its readings.
            if !is_known || other.rule.reads_path() {
                also.push(Other { route: other, path: reading });
            }
        }
        Lookup::Found { route, also }
    }
}

/// The paths of one host, segment by segment.
#[derive(Debug, Default)]
struct Tree {
    children: HashMap<Box<str>, Self, RandomState>,
    exact: Slot,
    below: Slot,
}

impl Tree {
    /// The place of a pattern. A path of `n` slashes has `n` segments, of which the last is empty when it ends in a slash.
    fn slot(&mut self, pattern: &PathPattern) -> &mut Slot {
        match pattern {
            PathPattern::Exact(path) => &mut self.descend(path.strip_prefix('/').unwrap_or(path)).exact,
            PathPattern::Below(path) => {
                let path = path.strip_suffix('/').unwrap_or(path);
                match path.strip_prefix('/') {
                    Some(segments) => &mut self.descend(segments).below,
                    None => &mut self.below,
                }
            }
        }
    }

    fn descend(&mut self, segments: &str) -> &mut Self {
        segments.split('/').fold(self, |tree, segment| tree.children.entry(segment.into()).or_default())
    }

    /// Walks down once; the last fit on the way is the most specific.
    fn find(&self, method: &Method, path: &str) -> Option<usize> {
        let mut rest = path.strip_prefix('/')?;
        let mut tree = self;
        let mut best = None;
        loop {
            best = tree.below.find(method).or(best);
            let (segment, after) = rest.split_once('/').map_or((rest, None), |(segment, after)| (segment, Some(after)));
            let Some(child) = tree.children.get(segment) else { return best };
            let Some(after) = after else { return child.exact.find(method).or(best) };
            (tree, rest) = (child, after);
        }
    }
}

/// The routes on one path pattern, by method.
#[derive(Debug, Default)]
struct Slot {
    by_method: Vec<(Method, usize)>,
    all_methods: Option<usize>,
}

impl Slot {
    /// Adds a route; `Some` with the one that it ties with.
    fn add(&mut self, index: usize, methods: Option<&[Method]>) -> Option<usize> {
        let Some(methods) = methods else {
            return self.all_methods.replace(index);
        };
        for method in methods {
            match self.named(method) {
                Some(known) if known != index => return Some(known),
                Some(_) => {}
                None => self.by_method.push((method.clone(), index)),
            }
        }
        None
    }

    fn find(&self, method: &Method) -> Option<usize> {
        if self.by_method.is_empty() {
            return self.all_methods;
        }
        let as_get = || if *method == Method::HEAD { self.named(&Method::GET) } else { None };
        self.named(method).or_else(as_get).or(self.all_methods)
    }

    fn named(&self, method: &Method) -> Option<usize> {
        self.by_method.iter().find(|(known, _)| known == method).map(|(_, index)| *index)
    }
}

#[cfg(test)]
mod tests;
