//! What can be asked for on the command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Makes, signs, checks and shows HIC modules.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Make a module of a static-pie ELF file and its manifest; with --key and --chain, sign it too.
    Pack {
        /// The linked binary.
        #[arg(long)]
        elf: PathBuf,
        /// The manifest, usually hicmod.toml beside the module's Cargo.toml.
        #[arg(long)]
        manifest: PathBuf,
        /// Where to write the module.
        #[arg(long)]
        out: PathBuf,
        /// The signer's private key, as for `sign`.
        #[arg(long, requires = "chain")]
        key: Option<PathBuf>,
        /// The certificates, as for `sign`.
        #[arg(long, requires = "key")]
        chain: Option<PathBuf>,
    },
    /// Make a root, an intermediate and a signer: RSA-3072 keys and X.509 certificates.
    ///
    /// Writes NAME.key.pem (PKCS#8, readable by you alone), NAME.pem and NAME.der for each of the three, and chain.pem with
    /// the certificates that travel with a module. Overwrites nothing. Keep root.key.pem and intermediate.key.pem on a
    /// machine without a network: signing modules needs only signer.key.pem and chain.pem.
    Chain {
        /// The folder to write to.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Mark the chain as one for development: systems that trust it say so.
        #[arg(long)]
        development: bool,
        /// Days for which the signer is valid; the intermediate three times, the root ten times as long.
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: u32,
    },
    /// Sign a module: RSA-3072 (PKCS#1 v1.5) over SHA-384, with the time. An earlier signature is replaced.
    ///
    /// The private key is used with blinding against timing attacks (RUSTSEC-2023-0071); still, sign where nobody else runs
    /// programs.
    Sign {
        /// The module.
        #[arg(long)]
        module: PathBuf,
        /// The signer's private key (PKCS#8 PEM).
        #[arg(long)]
        key: PathBuf,
        /// The certificates of signer and intermediate, in this order (PEM).
        #[arg(long)]
        chain: PathBuf,
        /// Where to write the signed module; without it, in place.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Check a module as the system does: every byte, the chain, validity, key usage, revocation, manifest and image.
    Verify {
        /// The module.
        #[arg(long)]
        module: PathBuf,
        /// The trusted root certificate (PEM or DER).
        #[arg(long)]
        root: PathBuf,
        /// The revocation lists.
        #[arg(long)]
        revoked: Option<PathBuf>,
        /// The time to check for, instead of now: 2027-01-15 or 2027-01-15T08:00:00Z.
        #[arg(long, value_name = "DATE", value_parser = hicmod_tool::parse_date)]
        at: Option<u64>,
    },
    /// Add a certificate to the X.509 revocation list of its issuer.
    Revoke {
        /// The certificate that is no longer to be believed (PEM or DER).
        #[arg(long)]
        certificate: PathBuf,
        /// The certificate of its issuer (PEM or DER).
        #[arg(long)]
        issuer: PathBuf,
        /// The private key of its issuer (PKCS#8 PEM).
        #[arg(long)]
        key: PathBuf,
        /// The file of lists, DER; made if it is not there.
        #[arg(long)]
        list: PathBuf,
    },
    /// Show what a module or a boot archive holds. Verifies nothing but checksums.
    Inspect {
        /// The module or archive.
        file: PathBuf,
        /// Print one JSON document on one line.
        #[arg(long)]
        json: bool,
    },
    /// Put files into a boot archive, in the given order.
    Archive {
        /// Where to write the archive.
        #[arg(long)]
        out: PathBuf,
        /// The files, each with its name in the archive.
        #[arg(value_name = "NAME=PATH", required = true, value_parser = named_file)]
        files: Vec<(String, PathBuf)>,
    },
    /// Write into a kernel which boot archive it starts: it refuses every other one.
    Bind {
        /// The kernel, as it was linked or bound before.
        #[arg(long)]
        kernel: PathBuf,
        /// The boot archive.
        #[arg(long)]
        archive: PathBuf,
        /// Where to write the bound kernel.
        #[arg(long)]
        out: PathBuf,
    },
}

/// Splits `NAME=PATH`.
fn named_file(argument: &str) -> Result<(String, PathBuf), String> {
    let (name, path) =
        argument.split_once('=').ok_or("expected NAME=PATH, for example netstack=target/netstack.hicmod")?;
    Ok((name.to_owned(), PathBuf::from(path)))
}
