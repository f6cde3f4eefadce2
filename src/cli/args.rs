//! What can be said on the command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::LoadRequest;

/// A reverse proxy that signs people in.
#[derive(Debug, Parser)]
#[command(
    name = "portcullis",
    version,
    about,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "To see it work: portcullis demo\n\n\
        Exit codes: 0 all is well, 1 mistakes in the config, 2 anything else that went wrong."
)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve requests until SIGTERM or SIGINT; prints `ready` and its addresses once it accepts connections.
    Serve(ConfigArgs),
    /// Tell every mistake in a config; exit 1 if there is one. Uses no network.
    Check(ConfigArgs),
    /// Tell which route a request has, what its rule sees and decides, and what the upstream would get. Uses no network.
    ///
    /// Exit codes: 0 it passes, 1 mistakes in the config, 2 the case can't be read, 3 somebody has to sign in first, 4 to sign in
    /// anew (step-up), 5 it is forbidden, 6 it is refused before any rule is looked at or has no route.
    #[command(verbatim_doc_comment)]
    Explain(ExplainArgs),
    /// Run the gateway, a development identity provider and a sample application in one process.
    Demo(DemoArgs),
    /// Write a new session key: 32 random bytes in base64url. With --signing, a private key for the tokens that the gateway signs, in PEM.
    Keygen(KeygenArgs),
}

/// Which config.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConfigArgs {
    /// A config file; may be given several times, later ones over earlier ones. TOML, or YAML and JSON by file ending.
    /// Without it: ./portcullis.toml, then /etc/portcullis/portcullis.toml.
    #[arg(long = "config", short = 'c', value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// One key over every file and variable, dots between levels: --set session.idle=8h
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
}

impl ConfigArgs {
    /// What to load: these files and keys, over this process's environment.
    pub(crate) fn request(&self) -> LoadRequest {
        LoadRequest::of_process(self.files.clone(), self.sets.clone())
    }
}

/// Which key.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct KeygenArgs {
    /// A signing key, for one of these algorithms.
    #[arg(long, value_name = "ALGORITHM", num_args = 0..=1, require_equals = true, default_missing_value = "ES256", ignore_case = true)]
    pub(crate) signing: Option<SigningAlgorithm>,
}

/// What a signing key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SigningAlgorithm {
    /// ECDSA on P-256.
    #[value(name = "ES256")]
    Es256,
    /// Ed25519.
    #[value(name = "EdDSA")]
    EdDsa,
    /// RSA of 2048 bits.
    #[value(name = "RS256")]
    Rs256,
}

/// What to explain.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The method, as it would be sent.
    #[arg(value_name = "METHOD")]
    pub(crate) method: String,
    /// The URL as it would be sent, byte for byte; a path alone is one at the public URL.
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    /// Who is signed in: a JSON object with the claims of an ID token, `-` for standard input. Nobody without it. `auth_time`, `acr` and
    /// `amr` tell how; `scope` what was granted, where it is another than what is asked for.
    #[arg(long, value_name = "FILE")]
    pub(crate) claims: Option<PathBuf>,
    /// Whose claims they are, where `iss` does not say it and there are several providers.
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// The --claims are those of an access token that comes in `Authorization`, of the issuer of this name in `[bearer.…]`. Its signature is
    /// taken for good, and a proof or certificate for shown where it is bound to one.
    #[arg(long, value_name = "NAME", conflicts_with = "provider", requires = "claims")]
    pub(crate) bearer: Option<String>,
    /// A header that it brings, as `Name: value`; may be given several times. Without any, what a request has to show beside a session is
    /// told, not judged.
    #[arg(long = "header", short = 'H', value_name = "HEADER")]
    pub(crate) headers: Vec<String>,
    /// The address that the request comes from. Without it: 127.0.0.1.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) client_ip: Option<IpAddr>,
    /// Tell it as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How to run the demo.
#[derive(Clone, Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where it listens: an address of this machine alone. Port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn files_and_keys_keep_their_order() {
        let read = Arguments::try_parse_from([
            "portcullis",
            "check",
            "--config",
            "a.toml",
            "--set",
            "drain=1s",
            "-c",
            "b.yaml",
            "--set",
            "log.level=debug",
        ]);
        let Command::Check(args) = read.unwrap().command else { panic!("not `check`") };
        assert_eq!(args.files, [PathBuf::from("a.toml"), PathBuf::from("b.yaml")]);
        assert_eq!(args.sets, ["drain=1s", "log.level=debug"]);
    }

    #[test]
    fn a_signing_key_is_es256_unless_it_is_said_otherwise() {
        for (arguments, expected) in [
            (&["keygen"][..], None),
            (&["keygen", "--signing"], Some(SigningAlgorithm::Es256)),
            (&["keygen", "--signing=eddsa"], Some(SigningAlgorithm::EdDsa)),
            (&["keygen", "--signing=RS256"], Some(SigningAlgorithm::Rs256)),
        ] {
            let read = Arguments::try_parse_from([&["portcullis"], arguments].concat());
            let Command::Keygen(args) = read.unwrap().command else { panic!("not `keygen`") };
            assert_eq!(args.signing, expected, "{arguments:?}");
        }
        assert!(Arguments::try_parse_from(["portcullis", "keygen", "--signing=HS256"]).is_err());
    }

    #[test]
    fn the_demo_listens_where_the_contract_says() {
        let read = Arguments::try_parse_from(["portcullis", "demo"]);
        let Command::Demo(args) = read.unwrap().command else { panic!("not `demo`") };
        assert_eq!(args.listen, SocketAddr::from(([127, 0, 0, 1], 8080)));
    }
}
