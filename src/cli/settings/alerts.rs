//! Alerts: the sections `[alert.NAME]`. Read for commands that send some alone: a mistake in them
//! must not keep WAL from being archived.

use std::time::Duration;

use super::{
    build::parsed,
    keys::{self, Key, Scope},
    layers::{Found, Layers},
    notes::Note,
    old_names::{DISCORD, DISCORD_NOTIFY_FAILURE, DISCORD_NOTIFY_SUCCESS, WEBHOOK},
    parse,
};
use crate::{
    commands::options::AlertOptions,
    domain::monitor::{
        alert::Wishes,
        door::{Notifier, Way},
        mail::{From, Login, Mail, Recipients},
        webhook::Webhook,
    },
    error::{Error, Result},
};

/// Names that need no section in the file, where variables are all that there is.
const WITHOUT_FILE: [&str; 3] = ["mail", WEBHOOK, DISCORD];

impl Layers {
    pub fn alerts(&self) -> Result<AlertOptions> {
        let mut exposed = self.exposed().into_iter();
        if let Some(exposed) = exposed.find(|one| one.scope == Scope::Alert) {
            return Err(exposed.error());
        }
        let names = self.alert_names()?;
        let notifiers = names.into_iter().map(|name| self.notifier(name));
        Ok(AlertOptions {
            notifiers: notifiers.collect::<Result<_>>()?,
            limit: self.always(keys::ALERT_TIME_LIMIT, parse::time_limit)?,
        })
    }

    /// How often what lasts is told again; None: never.
    pub fn remind(&self) -> Result<Option<Duration>> {
        self.always(keys::ALERT_REMIND, |text| {
            parse::or_off(text, parse::time_limit)
        })
    }

    /// All sections that there may be.
    pub(super) fn possible_alerts(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.file.alerts.iter().map(String::as_str).collect();
        for name in WITHOUT_FILE {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Those that there are.
    pub(super) fn alert_names(&self) -> Result<Vec<&str>> {
        let mut names = Vec::new();
        for name in self.possible_alerts() {
            let is_set = |key| Ok::<_, Error>(self.find(key, name)?.is_some());
            let in_file = self.file.alerts.iter().any(|own| own == name);
            if in_file || is_set(keys::ALERT_URL)? || is_set(keys::ALERT_TO)? {
                names.push(name);
            }
        }
        Ok(names)
    }

    pub(super) fn notifier(&self, name: &str) -> Result<Notifier> {
        let [failure, recovery, success] = self.of_alert(name, keys::ALERT_ON, parse::wishes)?;
        let remind = self.remind()?;
        let url = self.find(keys::ALERT_URL, name)?;
        let to = self.optional(keys::ALERT_TO, name, Recipients::parse)?;
        let way = match (url, to) {
            (Some(url), None) => Way::Webhook(Webhook {
                url: self.secret(url),
                form: match name {
                    // Whatever its host is called.
                    DISCORD if self.is_auto(name)? => parse::form(DISCORD)?,
                    _ => self.of_alert(name, keys::ALERT_FORM, parse::form)?,
                },
                ca_file: self.optional(keys::ALERT_CA_FILE, name, parse::absolute_path)?,
            }),
            (None, Some(to)) => Way::Mail(self.mail(name, to)?),
            (url, _) => {
                let what = match url.is_some() {
                    true => "has both url and to",
                    false => "has neither url nor to",
                };
                return Err(Error::usage(format!("[alert.{name}] {what}"))
                    .hint("url_file (or url) makes it a webhook, to an e-mail."));
            }
        };
        Ok(Notifier {
            name: name.to_owned(),
            wishes: Wishes {
                failure,
                recovery,
                success,
                remind,
            },
            way,
        })
    }

    fn mail(&self, name: &str, to: Recipients) -> Result<Mail> {
        let security = self.of_alert(name, keys::ALERT_TLS, parse::mail_tls)?;
        let user = self.optional(keys::ALERT_USER, name, parse::text)?;
        let password = self.find(keys::ALERT_PASSWORD, name)?;
        let password = password.map(|found| self.secret(found));
        let login = match (user, password) {
            (Some(user), Some(password)) => Some(Login { user, password }),
            (None, None) => None,
            (user, _) => {
                let (has, lacks) = match user {
                    Some(_) => ("user", "password"),
                    None => ("password", "user"),
                };
                return Err(
                    Error::usage(format!("[alert.{name}] has a {has}, but no {lacks}"))
                        .hint("set both (password_file names a file), or none."),
                );
            }
        };
        let port = self.optional(keys::ALERT_PORT, name, parse::port)?;
        let from = self.optional(keys::ALERT_FROM, name, From::parse)?;
        Ok(Mail {
            server: self.of_alert(name, keys::ALERT_HOST, parse::text)?,
            port: port.unwrap_or(security.port()),
            security,
            login,
            ca_file: self.optional(keys::ALERT_CA_FILE, name, parse::absolute_path)?,
            from: match from {
                Some(from) => from,
                None => From::of_host()?,
            },
            to,
        })
    }

    fn of_alert<T>(&self, name: &str, key: Key, parse: fn(&str) -> Result<T>) -> Result<T> {
        self.required(key, name, parse)
    }

    fn is_auto(&self, name: &str) -> Result<bool> {
        let form = self.find(keys::ALERT_FORM, name)?;
        Ok(form.is_none_or(|form| form.text == "auto"))
    }

    /// What old scripts' variables say of what Discord is told; None: nothing.
    pub(super) fn old_wishes(&self) -> Result<Option<Found>> {
        let mut wishes = vec!["failure", "recovery"];
        let mut from = None;
        if let Some(found) = self.variable(DISCORD_NOTIFY_SUCCESS, false)? {
            if parsed(keys::ALERT_ON, DISCORD, &found, parse::yes_or_no)? {
                wishes.push("success");
            }
            from = Some(found);
        }
        if let Some(found) = self.variable(DISCORD_NOTIFY_FAILURE, false)? {
            if !parsed(keys::ALERT_ON, DISCORD, &found, parse::yes_or_no)? {
                wishes.retain(|wish| *wish == "success");
            }
            from = Some(found);
        }
        Ok(from.map(|found| Found {
            text: wishes.join(","),
            old: true,
            ..found
        }))
    }

    /// A wish for Discord that nobody looks at.
    pub(super) fn unused_wish(&self, key: Key, set: &Found) -> Result<Option<Note>> {
        let instead = match self.find(key, DISCORD)? {
            _ if !self.alert_names()?.contains(&DISCORD) => {
                format!("no alert is named {DISCORD}")
            }
            Some(used) if !used.old => format!("{} is used", used.source),
            _ => return Ok(None),
        };
        Ok(Some(Note::Warning(format!(
            "{} is set, but not used: {instead}",
            set.source
        ))))
    }
}
