//! Query and form parameters, each at most once.

/// A text that can't be read as parameters.
#[derive(Debug, thiserror::Error)]
#[error("a parameter came twice")]
pub struct QueryProblem;

/// Stand-in: parameters by name.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query or form.
    ///
    /// # Errors
    /// When a name comes twice.
    pub fn parse(text: &[u8]) -> Result<Self, QueryProblem> {
        let mut all: Vec<(String, String)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(text) {
            if value.contains('\u{fffd}') || all.iter().any(|(known, _)| *known == name) {
                return Err(QueryProblem);
            }
            all.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(all))
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}
