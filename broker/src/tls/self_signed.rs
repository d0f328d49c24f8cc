//! A certificate of the broker's own, for a team to start with: made once, trusted by its fingerprint.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::ParsedCertificate;

use crate::config::CertificateFiles;

/// How long it is good: whoever trusts its fingerprint trusts nothing else that would end sooner.
const LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The certificate and key in a directory, made when they are not there: good for this machine's names and
/// addresses, for the one it listens on, and for those that are named.
pub(crate) fn prepare(
    directory: &Path,
    hosts: &[String],
    address: IpAddr,
) -> anyhow::Result<CertificateFiles> {
    let files = CertificateFiles { certificate: directory.join("cert.pem"), key: directory.join("key.pem") };
    if files.certificate.exists() {
        // A machine's own name may change, that of a container with each; those that were asked for count.
        for name in names_missing(&files.certificate, hosts) {
            tracing::warn!(
                name, path = %files.certificate.display(),
                "the certificate does not have this name; remove it for a new one, and tell the clients that pin it"
            );
        }
        return Ok(files);
    }
    let make = || -> anyhow::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        fs::set_permissions(directory, Permissions::from_mode(0o700))?;
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::new(names(hosts, address))?;
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, "mesh broker");
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.not_after = (SystemTime::now() + LIFETIME).into();
        let certificate = parameters.self_signed(&key)?;
        // The certificate last: while it is not there, both are made again.
        write_private(&files.key, &key.serialize_pem())?;
        write_private(&files.certificate, &certificate.pem())?;
        Ok(())
    };
    make().with_context(|| format!("cannot make a certificate in {}", directory.display()))?;
    Ok(files)
}

fn names(hosts: &[String], address: IpAddr) -> Vec<String> {
    let mut names = vec![
        "localhost".to_owned(),
        Ipv4Addr::LOCALHOST.to_string(),
        Ipv6Addr::LOCALHOST.to_string(),
        own_name(),
    ];
    if !address.is_unspecified() {
        names.push(address.to_string());
    }
    names.extend(hosts.iter().cloned());
    names.retain(|name| ServerName::try_from(name.as_str()).is_ok());
    names.sort_unstable();
    names.dedup();
    names
}

/// This machine's name, as it calls itself.
pub(crate) fn own_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn names_missing(certificate: &Path, names: &[String]) -> Vec<String> {
    let Ok(chain) = super::certificates(certificate) else { return Vec::new() };
    let Ok(parsed) = ParsedCertificate::try_from(&chain[0]) else { return Vec::new() };
    let missing = |name: &&String| {
        ServerName::try_from(name.as_str()).is_ok_and(|name| verify_server_name(&parsed, &name).is_err())
    };
    names.iter().filter(missing).cloned().collect()
}

/// Writes a file that only this user can read, whole or not at all.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let aside = path.with_extension(format!("{}.tmp", std::process::id()));
    let _ = fs::remove_file(&aside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&aside, path)
}
