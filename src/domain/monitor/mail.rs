//! E-mail. TLS is on unless a person switched it off, and never given up because a server doesn't
//! offer it: then no password and no word is sent.

use std::{path::PathBuf, time::Duration};

use lettre::{
    Address, SmtpTransport, Transport,
    address::Envelope,
    message::{
        Mailbox, Mailboxes, Message as Letter,
        header::{
            ContentTransferEncoding, ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0, To,
        },
    },
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
        extension::ClientId,
    },
};

use super::message::Message;
use crate::{
    error::{Error, Result},
    util::{host, secret::SecretFrom, trust},
};

#[derive(Clone, Debug, PartialEq)]
pub struct Mail {
    pub server: String,
    pub port: u16,
    pub security: Security,
    /// None: no authentication.
    pub login: Option<Login>,
    /// Certificates to trust instead of the host's.
    pub ca_file: Option<PathBuf>,
    pub from: From,
    pub to: Recipients,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: SecretFrom,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Begins in plain text and insists on TLS (port 587).
    StartTls,
    /// TLS from the first byte on (port 465).
    Tls,
    /// Plain text, also of a password.
    None,
}

impl Security {
    pub fn port(self) -> u16 {
        match self {
            Security::StartTls => 587,
            Security::Tls => 465,
            Security::None => 25,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct From(Mailbox);

impl From {
    pub fn parse(text: &str) -> Result<Self> {
        let mailbox = text.parse().map_err(|error| not_addresses(text, error))?;
        Ok(Self(mailbox))
    }

    /// Who sends where nobody is named.
    pub fn of_host() -> Result<Self> {
        Self::parse(&format!("pgstow@{}", host::name()))
    }
}

/// One or more.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipients(Mailboxes);

impl Recipients {
    /// With commas between them.
    pub fn parse(text: &str) -> Result<Self> {
        let all: Mailboxes = text.parse().map_err(|error| not_addresses(text, error))?;
        Ok(Self(all))
    }
}

fn not_addresses(text: &str, error: lettre::address::AddressError) -> Error {
    Error::usage(format!("not an e-mail address: {text:?}"))
        .because(error)
        .hint("write it as name@example.org, or Name <name@example.org>.")
}

impl Mail {
    /// Delivers it to all recipients, or to as many as the server takes: then an error that names those that
    /// it refused is handed back. `limit` is for each step: whoever calls has one for the whole.
    pub fn send(&self, message: &Message, limit: Duration) -> Result<Option<Error>> {
        let letter = self.letter(message)?;
        let transport = self.transport(limit)?;
        let recipients = self.to.0.iter().map(|one| one.email.clone());
        let recipients: Vec<Address> = recipients.collect();
        let send = |to: Vec<Address>| {
            let envelope = Envelope::new(Some(self.from.0.email.clone()), to);
            let envelope = envelope.map_err(|error| bad(&error))?;
            let sent = transport.send_raw(&envelope, &letter);
            Ok(sent.err())
        };
        match send(recipients.clone())? {
            None => return Ok(None),
            Some(error) if !refuses_somebody(&error) => return Err(self.unsent(&error, &[])),
            Some(error) if recipients.len() < 2 => return Err(self.unsent(&error, &recipients)),
            Some(_) => {}
        }
        // Whom the server refuses must not keep the others from hearing of it.
        let all = recipients.len();
        let (mut refused, mut last) = (Vec::new(), None);
        for recipient in recipients {
            if let Some(error) = send(vec![recipient.clone()])? {
                refused.push(recipient);
                last = Some(error);
            }
        }
        let refusal = last.map(|error| self.unsent(&error, &refused));
        match refusal {
            Some(error) if refused.len() == all => Err(error),
            refusal => Ok(refusal),
        }
    }

    fn letter(&self, message: &Message) -> Result<Vec<u8>> {
        let id = format!("{}.{}", message.time.timestamp_micros(), std::process::id());
        let letter = Letter::builder()
            .from(self.from.0.clone())
            .mailbox(To::from(self.to.0.clone()))
            .subject(&message.subject)
            .date(message.time.into())
            .message_id(Some(format!("<{id}@{}>", self.from.0.email.domain())))
            .raw_header(HeaderValue::new(
                // So that nobody's absence is told to us (RFC 3834).
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ))
            // Only multipart bodies have it by themselves (RFC 2045, 4).
            .header(MIME_VERSION_1_0)
            .header(ContentType::TEXT_PLAIN)
            .header(ContentTransferEncoding::QuotedPrintable)
            .body(format!("{}\n", message.text))
            .map_err(|error| bad(&error))?;
        Ok(letter.formatted())
    }

    fn transport(&self, limit: Duration) -> Result<SmtpTransport> {
        let tls = match self.security {
            Security::StartTls => Tls::Required(self.tls()?),
            Security::Tls => Tls::Wrapper(self.tls()?),
            Security::None => Tls::None,
        };
        let mut transport = SmtpTransport::builder_dangerous(&self.server)
            .port(self.port)
            .tls(tls)
            .hello_name(ClientId::Domain(host::name()))
            .timeout(Some(limit));
        if let Some(login) = &self.login {
            let password = login.password.read()?.expose().to_owned();
            transport = transport.credentials(Credentials::new(login.user.clone(), password));
        }
        Ok(transport.build())
    }

    fn tls(&self) -> Result<TlsParameters> {
        let mut builder =
            TlsParameters::builder(self.server.clone()).certificate_store(CertificateStore::None);
        for root in trust::roots(self.ca_file.as_deref())? {
            let root = Certificate::from_der(root.to_vec());
            builder = builder.add_root_certificate(root.map_err(|error| bad(&error))?);
        }
        builder.build_rustls().map_err(|error| bad(&error))
    }

    /// `to`: who was refused, if that may be the trouble.
    fn unsent(&self, error: &lettre::transport::smtp::Error, to: &[Address]) -> Error {
        let why = error.to_string();
        let hint = match error.status().map(|code| code.to_string()) {
            Some(code) if LOGIN_CODES.contains(&code.as_str()) => {
                "see user and password_file, and what the mail server's log says."
            }
            Some(_) => "see from and to, and what the mail server's log says.",
            None if trust::is_a_ca(&why) => trust::IS_A_CA,
            None if why.contains("certificate") => {
                "host must be the name in the server's certificate; ca_file names the certificate \
                 of the authority that signed it."
            }
            None => "see that a mail server answers there, and that port and tls belong together.",
        };
        let to: Vec<&str> = to.iter().map(AsRef::as_ref).collect();
        let to = match to.is_empty() {
            true => String::new(),
            false => format!(" to {}", to.join(", ")),
        };
        Error::failed(format!(
            "can't send mail{to} by {}:{}",
            self.server, self.port
        ))
        .because(why)
        .hint(hint)
    }
}

/// Of RFC 4954: no or a wrong login.
const LOGIN_CODES: [&str; 5] = ["454", "530", "534", "535", "538"];

/// True of an answer that may be about one recipient only.
fn refuses_somebody(error: &lettre::transport::smtp::Error) -> bool {
    let code = error.status().map(|code| code.to_string());
    code.is_some_and(|code| !LOGIN_CODES.contains(&code.as_str()))
}

/// What only a mistake in a setting brings about.
fn bad(error: &dyn std::error::Error) -> Error {
    Error::failed("can't make a mail").because(error.to_string())
}
