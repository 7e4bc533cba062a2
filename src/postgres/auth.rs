//! Proving who we are: trust, password, md5, SCRAM-SHA-256 with and without channel binding.
//!
//! Messages: `doc/src/sgml/protocol.sgml`, "Start-up"; choices as in libpq's `fe-auth.c`.

use postgres_protocol::{
    authentication::{
        md5_hash,
        sasl::{self, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256},
    },
    message::frontend,
};

use super::{
    conninfo::{ChannelBinding, ConnInfo},
    server_error::ServerError,
    wire::{Wire, tag},
};
use crate::{
    error::{Error, Result},
    util::secret::Secret,
};

/// Kinds of authentication requests (`src/include/libpq/protocol.h`, AUTH_REQ_*).
const OK: u32 = 0;
const CLEARTEXT: u32 = 3;
const MD5: u32 = 5;
const SASL: u32 = 10;
const SASL_CONTINUE: u32 = 11;
const SASL_FINAL: u32 = 12;

/// Answers the server's requests until it lets us in or refuses.
pub fn authenticate(wire: &mut Wire, info: &ConnInfo, password: Option<&Secret>) -> Result<()> {
    let mut scram: Option<ScramSha256> = None;
    let mut bound = false;
    let mut proven = false;
    loop {
        let message = wire.read()?;
        match message.tag {
            tag::AUTHENTICATION => {}
            tag::ERROR => return Err(refused(info, ServerError::parse(message.body))),
            other => return Err(unexpected(info, other)),
        }
        let (request, data) =
            split(message.body).ok_or_else(|| unexpected(info, tag::AUTHENTICATION))?;
        match request {
            OK if scram.is_some() && !proven => {
                return Err(Error::failed(format!(
                    "the server at {} didn't prove that it knows the password",
                    info.server()
                )));
            }
            OK if info.channel_binding == ChannelBinding::Require && !bound => {
                return Err(no_binding(info));
            }
            OK => return Ok(()),
            // A password in any of these forms can't be bound to the connection.
            CLEARTEXT | MD5 if info.channel_binding == ChannelBinding::Require => {
                return Err(no_binding(info));
            }
            CLEARTEXT => {
                let password = needed(info, password)?.expose().as_bytes();
                put(
                    info,
                    frontend::password_message(password, &mut wire.outgoing),
                )?;
            }
            MD5 => {
                let salt = data
                    .first_chunk()
                    .ok_or_else(|| unexpected(info, tag::AUTHENTICATION))?;
                let password = needed(info, password)?.expose().as_bytes();
                let hash = md5_hash(info.user.as_bytes(), password, *salt);
                put(
                    info,
                    frontend::password_message(hash.as_bytes(), &mut wire.outgoing),
                )?;
            }
            SASL => {
                let offered = Offered::read(data);
                let (mechanism, binding) = choose(&offered, wire, info)?;
                bound = mechanism == SCRAM_SHA_256_PLUS;
                let password = needed(info, password)?.expose().as_bytes();
                let exchange = scram.insert(ScramSha256::new(password, binding));
                let first = frontend::sasl_initial_response(
                    mechanism,
                    exchange.message(),
                    &mut wire.outgoing,
                );
                put(info, first)?;
            }
            SASL_CONTINUE => {
                let exchange = scram
                    .as_mut()
                    .ok_or_else(|| unexpected(info, tag::AUTHENTICATION))?;
                put(info, exchange.update(data))?;
                put(
                    info,
                    frontend::sasl_response(exchange.message(), &mut wire.outgoing),
                )?;
            }
            SASL_FINAL => {
                let exchange = scram
                    .as_mut()
                    .ok_or_else(|| unexpected(info, tag::AUTHENTICATION))?;
                put(info, exchange.finish(data))?;
                proven = true;
                continue;
            }
            other => return Err(unsupported(info, other)),
        }
        wire.send()?;
    }
}

fn split(body: &[u8]) -> Option<(u32, &[u8])> {
    let (request, data) = body.split_first_chunk()?;
    Some((u32::from_be_bytes(*request), data))
}

/// The mechanisms of an AuthenticationSASL message that we know.
#[derive(Debug, PartialEq, Eq)]
struct Offered {
    plain: bool,
    plus: bool,
}

impl Offered {
    fn read(names: &[u8]) -> Self {
        let has = |name: &str| names.split(|&b| b == 0).any(|n| n == name.as_bytes());
        Self {
            plain: has(SCRAM_SHA_256),
            plus: has(SCRAM_SHA_256_PLUS),
        }
    }
}

fn choose(
    offered: &Offered,
    wire: &Wire,
    info: &ConnInfo,
) -> Result<(&'static str, sasl::ChannelBinding)> {
    let wanted = info.channel_binding;
    let binding = match wanted {
        ChannelBinding::Disable => None,
        _ => wire.channel_binding(),
    };
    match binding {
        Some(hash) if offered.plus => Ok((
            SCRAM_SHA_256_PLUS,
            sasl::ChannelBinding::tls_server_end_point(hash),
        )),
        _ if wanted == ChannelBinding::Require => Err(no_binding(info)),
        // "We could have": lets the server notice that somebody took PLUS out of its offer.
        Some(_) if offered.plain => Ok((SCRAM_SHA_256, sasl::ChannelBinding::unrequested())),
        None if offered.plain => Ok((SCRAM_SHA_256, sasl::ChannelBinding::unsupported())),
        _ => Err(unsupported(info, SASL)),
    }
}

fn needed<'a>(info: &ConnInfo, password: Option<&'a Secret>) -> Result<&'a Secret> {
    password.ok_or_else(|| no_password(info))
}

/// The server wants a password and there is none.
pub fn no_password(info: &ConnInfo) -> Error {
    let file = match &info.passfile {
        Some(file) => file.display().to_string(),
        None => "~/.pgpass".to_owned(),
    };
    Error::failed(format!(
        "the server at {} asks for a password of role {}",
        info.server(),
        info.user
    ))
    .hint(format!(
        "put it into {file} (mode 0600) as host:port:database:user:password."
    ))
}

/// `channel_binding=require` can't be met.
pub fn no_binding(info: &ConnInfo) -> Error {
    Error::failed(format!(
        "the server at {} didn't offer channel binding",
        info.server()
    ))
    .hint("channel_binding=require needs TLS and scram-sha-256 in pg_hba.conf.")
}

fn unsupported(info: &ConnInfo, request: u32) -> Error {
    let name = match request {
        2 => "Kerberos",
        7 | 8 => "GSSAPI",
        9 => "SSPI",
        SASL => "a SASL mechanism that pgstow doesn't know",
        _ => "an unknown authentication method",
    };
    Error::failed(format!("the server at {} asks for {name}", info.server())).hint(
        "let pg_hba.conf use scram-sha-256, md5, password, cert, peer or trust for this role.",
    )
}

/// The server's refusal during start-up.
pub fn refused(info: &ConnInfo, error: ServerError) -> Error {
    let doing = format!("can't log in to {} as {}", info.server(), info.user);
    // Of PL/pgSQL, which before a session begins only an event trigger runs.
    let is_by_trigger = error.code.starts_with("P0");
    let error = error.explain(doing, info);
    match is_by_trigger {
        true => error.hint(format!(
            "an event trigger for logins says so: let role {} pass there, or, where it may set that, go on without \
             (PGOPTIONS='-c event_triggers=off').",
            info.user
        )),
        false => error,
    }
}

pub fn unexpected(info: &ConnInfo, tag: u8) -> Error {
    Error::failed(format!(
        "{} sent a message that makes no sense here ({:?})",
        info.server(),
        char::from(tag)
    ))
    .hint("is a PostgreSQL server behind this host and port?")
}

fn put(info: &ConnInfo, outcome: std::io::Result<()>) -> Result<()> {
    outcome.map_err(|error| {
        Error::failed(format!(
            "can't log in to {} as {}",
            info.server(),
            info.user
        ))
        .because(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_are_read_from_any_bytes() {
        for (names, plain, plus) in [
            (&b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"[..], true, true),
            (b"SCRAM-SHA-256\0\0", true, false),
            (b"OAUTHBEARER\0\0", false, false),
            (b"", false, false),
            (b"\xFF\0\xFF", false, false),
        ] {
            assert_eq!(Offered::read(names), Offered { plain, plus });
        }
        assert_eq!(split(b"\0\0\0"), None);
        assert_eq!(split(b"\0\0\0\x05salt"), Some((5, &b"salt"[..])));
    }
}
