//! Where a secret comes from, and reading it when it is needed, so that a changed file counts without a restart.

use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};

/// The most a secret's file may hold.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Where a secret comes from: given as text, in a file, or in an environment variable.
#[derive(Clone)]
pub enum SecretSource {
    /// The text itself.
    Inline(SecretString),
    /// A file, read anew at each use; white space at its end is not part of the secret.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

/// A secret that can't be read. Never holds any of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file can't be read.
    #[error("can't read the secret's file {path}: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// The file is larger than any secret.
    #[error("the secret's file {path} is larger than 64 KiB")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// What is there can be read once at most, or never ends.
    #[error(
        "the secret's file {path} is a pipe, a device or a directory; write the secret into a file, which is read anew when it changes"
    )]
    NoFile {
        /// What was named.
        path: PathBuf,
    },
    /// The variable is not set.
    #[error("the environment variable {name} is not set")]
    Env {
        /// The variable.
        name: String,
    },
    /// Nothing is in it.
    #[error("the secret from {origin} is empty")]
    Empty {
        /// Where it was to come from.
        origin: String,
    },
}

impl SecretSource {
    /// The secret as it stands now.
    ///
    /// # Errors
    /// When its file or variable can't be read, or holds nothing.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        let secret = match self {
            Self::Inline(secret) => secret.clone(),
            Self::File(path) => Self::read_file(path)?,
            Self::Env(name) => {
                SecretString::from(std::env::var(name).map_err(|_| SecretError::Env { name: name.clone() })?)
            }
        };
        if secret.expose_secret().is_empty() {
            return Err(SecretError::Empty { origin: self.origin() });
        }
        Ok(secret)
    }

    /// Where it comes from, for messages: never the secret.
    pub fn origin(&self) -> String {
        match self {
            Self::Inline(_) => "the config".to_owned(),
            Self::File(path) => format!("file {}", path.display()),
            Self::Env(name) => format!("environment variable {name}"),
        }
    }

    fn read_file(path: &PathBuf) -> Result<SecretString, SecretError> {
        let fail = |cause: std::io::Error| SecretError::File { path: path.clone(), cause: cause.to_string() };
        let found = std::fs::metadata(path).map_err(fail)?;
        // Whoever opens a pipe waits for its writer, with all that wait for the secret.
        if !found.is_file() {
            return Err(SecretError::NoFile { path: path.clone() });
        }
        if found.len() > MAX_SECRET_BYTES {
            return Err(SecretError::TooLarge { path: path.clone() });
        }
        let text = std::fs::read_to_string(path).map_err(fail)?;
        Ok(SecretString::from(text.trim_end().to_owned()))
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_anew_and_its_last_line_end_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "one\n").unwrap();
        let source = SecretSource::File(path.clone());
        assert_eq!(source.read().unwrap().expose_secret(), "one");
        std::fs::write(&path, "two").unwrap();
        assert_eq!(source.read().unwrap().expose_secret(), "two");
        std::fs::write(&path, "\n").unwrap();
        assert!(source.read().unwrap_err().to_string().contains("empty"));
    }

    #[test]
    fn a_pipe_is_refused_and_never_waited_for() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for odd in [path, dir.path().to_owned()] {
            assert!(matches!(SecretSource::File(odd).read(), Err(SecretError::NoFile { .. })));
        }
    }

    #[test]
    fn a_secret_never_shows_in_debug() {
        let source = SecretSource::Inline(SecretString::from("hush".to_owned()));
        assert!(!format!("{source:?}").contains("hush"));
    }
}
