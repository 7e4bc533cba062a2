//! Webhooks: the forms that Slack, Discord and Microsoft Teams take, and one of our own.

use std::{path::PathBuf, time::Duration};

use serde_json::{Value, json};

use super::{
    message::{Message, shortened},
    verdict::State,
};
use crate::{
    error::{Error, Result},
    util::{
        http,
        secret::{Secret, SecretFrom},
    },
};

/// Slack cuts longer texts of an attachment, Discord refuses longer descriptions (4096).
const LONGEST: usize = 3900;

/// Discord refuses longer titles.
const LONGEST_TITLE: usize = 256;

/// Teams takes 28 KB in all.
const LONGEST_CARD: usize = 12_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Whoever has it may write there.
    pub url: SecretFrom,
    /// None: as its host takes it.
    pub form: Option<Form>,
    /// Certificates to trust instead of the host's.
    pub ca_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Slack,
    Discord,
    Teams,
    Json,
}

impl Webhook {
    pub fn send(&self, message: &Message, limit: Duration) -> Result<()> {
        let url = self.url.read()?;
        let form = self.form.unwrap_or_else(|| Form::of_host(&url));
        let body = serde_json::to_vec(&form.body(message)?)
            .map_err(|error| Error::failed("can't word an alert").because(error))?;
        let ca_file = self.ca_file.as_deref();
        http::post(&url, "application/json", &body, limit, ca_file)
    }
}

impl Form {
    fn of_host(url: &Secret) -> Self {
        let rest = url.expose().split_once("://").map_or("", |(_, rest)| rest);
        let host = rest.split(['/', ':', '?']).next().unwrap_or_default();
        let is_of = |domain: &str| {
            let above = host.strip_suffix(domain);
            above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
        };
        let domains = [
            ("slack.com", Form::Slack),
            ("slack-gov.com", Form::Slack),
            ("discord.com", Form::Discord),
            ("discordapp.com", Form::Discord),
            ("webhook.office.com", Form::Teams),
            ("logic.azure.com", Form::Teams),
            ("api.powerplatform.com", Form::Teams),
        ];
        let known = domains.iter().find(|(domain, _)| is_of(domain));
        known.map_or(Form::Json, |(_, form)| *form)
    }

    fn body(self, message: &Message) -> Result<Value> {
        let (subject, color) = (&message.subject, color(message.state));
        let text = shortened(&message.text, LONGEST);
        Ok(match self {
            Form::Slack => json!({
                "text": for_slack(subject),
                "attachments": [{
                    "color": format!("#{color:06x}"),
                    "text": for_slack(&text),
                    "mrkdwn_in": [],
                }],
            }),
            Form::Discord => json!({
                "username": "pgstow",
                "embeds": [{
                    "title": shortened(subject, LONGEST_TITLE),
                    "description": for_discord(&text),
                    "color": color,
                    "timestamp": message.time,
                }],
                // What a check found must call nobody.
                "allowed_mentions": {"parse": []},
            }),
            Form::Teams => json!({
                "type": "message",
                "attachments": [{
                    "contentType": "application/vnd.microsoft.card.adaptive",
                    "contentUrl": null,
                    "content": {
                        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                        "type": "AdaptiveCard",
                        "version": "1.4",
                        "body": card(message),
                    },
                }],
            }),
            Form::Json => serde_json::to_value(message)
                .map_err(|error| Error::failed("can't word an alert").because(error))?,
        })
    }
}

/// Red, green, blue.
fn color(state: State) -> u32 {
    match state {
        State::Ok => 0x002e_a043,
        State::Warning => 0x00d2_9922,
        State::Unknown => 0x006e_7681,
        State::Critical => 0x00cf_222e,
    }
}

/// Slack's own marks.
fn for_slack(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// In a block, where nothing has a meaning but its end.
fn for_discord(text: &str) -> String {
    format!("```\n{}\n```", text.replace("```", "'''"))
}

fn card(message: &Message) -> Vec<Value> {
    let color = match message.state {
        State::Ok => "Good",
        State::Warning => "Warning",
        State::Unknown => "Default",
        State::Critical => "Attention",
    };
    let mut blocks = vec![json!({
        "type": "TextBlock", "text": message.subject, "weight": "Bolder", "size": "Medium",
        "color": color, "wrap": true,
    })];
    let text = shortened(&message.text, LONGEST_CARD);
    blocks.extend(text.split("\n\n").map(|paragraph| {
        // A line end of its own is none in Markdown.
        let lines = paragraph.replace('\n', "\n\n");
        json!({"type": "TextBlock", "text": lines, "wrap": true})
    }));
    blocks
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{env, fs, path::Path};

    use super::{
        super::alert::{Item, Kind},
        *,
    };
    use crate::util::clock::Time;

    /// As they were looked at once; PGSTOW_UPDATE_GOLDEN=1 rewrites them.
    #[test]
    fn bodies_stay_as_they_were_looked_at() {
        let at = |second: i64| Time::from_timestamp(1_795_226_400 + second, 0).unwrap();
        let item = |check: &str, object: Option<&str>, state, kind| Item {
            kind,
            check: check.to_owned(),
            object: object.map(str::to_owned),
            state,
            before: State::Ok,
            since: Some(at(-3600)),
            reason: "<all> & @everyone ```wrong```".to_owned(),
            hint: Some("mend it.".to_owned()),
        };
        let items = [
            item("disk", Some("data"), State::Warning, Kind::Failure),
            item("backup_age", None, State::Critical, Kind::Reminder),
        ];
        let message = Message::new("main", "db1", at(0), &items);
        for (name, form) in [
            ("slack", Form::Slack),
            ("discord", Form::Discord),
            ("teams", Form::Teams),
            ("json", Form::Json),
        ] {
            let body = serde_json::to_string_pretty(&form.body(&message).unwrap()).unwrap();
            let path = format!("tests/golden/alerts/{name}.json");
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
            if env::var_os("PGSTOW_UPDATE_GOLDEN").is_some() {
                fs::write(&path, &body).unwrap();
            }
            assert_eq!(fs::read_to_string(&path).unwrap(), body, "{name}");
        }
    }

    #[test]
    fn the_host_tells_the_form() {
        for (url, form) in [
            ("https://hooks.slack.com/services/T/B/x", Form::Slack),
            ("https://discord.com/api/webhooks/1/x", Form::Discord),
            ("https://canary.discord.com/api/webhooks/1/x", Form::Discord),
            ("https://a.webhook.office.com/webhookb2/x", Form::Teams),
            ("https://p.01.westeurope.logic.azure.com:443/w", Form::Teams),
            ("https://notdiscord.com/x", Form::Json),
            ("https://example.org/discord.com", Form::Json),
            ("nonsense", Form::Json),
        ] {
            assert_eq!(Form::of_host(&Secret::new(url)), form, "{url}");
        }
    }
}
