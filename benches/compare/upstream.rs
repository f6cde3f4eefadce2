//! The application behind both sides: a second nginx with answers of 1 KiB and of 1 MiB.

use std::fs;
use std::path::Path;

use crate::Outcome;
use crate::nginx;
use crate::process::Running;

/// Bytes of every answer but one.
pub(crate) const SMALL: usize = 1024;
/// Bytes of the answer to [`LARGE_PATH`].
pub(crate) const LARGE: usize = 1024 * 1024;
/// Where the large answer is.
pub(crate) const LARGE_PATH: &str = "/large";

/// Starts it.
pub(crate) fn start(folder: &Path, cores: &str, port: u16) -> Outcome<Running> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("large"), vec![b'x'; LARGE])?;
    let head = nginx::head(folder, true, 8_192);
    let (small, folder_shown) = ("x".repeat(SMALL), folder.display());
    let config = format!(
        "{head}
  open_file_cache max=16;
  default_type application/octet-stream;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    root {folder_shown};
    location / {{ return 200 \"{small}\"; }}
    location = {LARGE_PATH} {{ }}
  }}
}}
"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, config)?;
    nginx::start(&file, Some(cores), port)
}
