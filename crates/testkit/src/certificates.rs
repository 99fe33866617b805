//! A certificate authority of a test's own: certificates for listeners and for their clients.

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

/// A certificate authority that only a test trusts.
#[derive(Debug)]
pub struct CertificateAuthority {
    /// Its own certificate, in PEM.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, both in PEM.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The private key, as PKCS#8.
    pub key: String,
}

impl CertificateAuthority {
    /// A fresh authority of this name.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for listeners on loopback; no two are alike.
    pub fn server(&self) -> Issued {
        self.issue(&["127.0.0.1", "localhost"], ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a listener that is somewhere else.
    pub fn server_elsewhere(&self) -> Issued {
        self.issue(&["elsewhere.example"], ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for listeners on loopback that was right until the end of 2020.
    pub fn expired_server(&self) -> Issued {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2020, 12, 31);
        self.issue_as(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for the client `name`.
    pub fn client(&self, name: &str) -> Issued {
        self.issue(&[name], ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A certificate for the client `name` that was right until the end of 2020.
    pub fn expired_client(&self, name: &str) -> Issued {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2020, 12, 31);
        self.issue_as(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A certificate for the client `name` that will be right from the beginning of 2096 on.
    pub fn later_client(&self, name: &str) -> Issued {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2096, 1, 1);
        self.issue_as(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(&self, names: &[&str], purpose: ExtendedKeyUsagePurpose) -> Issued {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        self.issue_as(CertificateParams::new(names).unwrap(), purpose)
    }

    fn issue_as(&self, mut params: CertificateParams, purpose: ExtendedKeyUsagePurpose) -> Issued {
        params.extended_key_usages.push(purpose);
        let key = KeyPair::generate().unwrap();
        Issued {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}
