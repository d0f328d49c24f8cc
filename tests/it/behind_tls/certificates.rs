//! An authority of a test, and what it signs.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};

pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, "authority of a test");
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes its own certificate.
    pub(super) fn write(&self, path: &Path) -> PathBuf {
        std::fs::write(path, self.0.pem()).unwrap();
        path.to_owned()
    }

    /// Signs a certificate for a broker: paths of it and of its key.
    pub(super) fn server(&self, directory: &Path, name: &str, expired: bool) -> (String, String) {
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if expired {
            parameters.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }
        self.sign(directory, "broker", &parameters)
    }

    /// Signs a certificate for a caller.
    pub(super) fn caller(&self, directory: &Path, name: &str) -> (String, String) {
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(directory, name, &parameters)
    }

    fn sign(&self, directory: &Path, file: &str, parameters: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let signed = parameters.signed_by(&key, &self.0).unwrap();
        let path = |end: &str| directory.join(format!("{file}.{end}")).to_str().unwrap().to_owned();
        std::fs::write(path("pem"), signed.pem()).unwrap();
        std::fs::write(path("key"), key.serialize_pem()).unwrap();
        (path("pem"), path("key"))
    }
}
