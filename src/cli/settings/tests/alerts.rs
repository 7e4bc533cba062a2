//! `[alerts.NAME]`, and the old names that become it.

use super::*;
use crate::domain::monitor::{
    door::{Notifier, Way},
    mail::Security,
    webhook::Form,
};

fn notifiers(host: &Host) -> Vec<Notifier> {
    host.layers().unwrap().alerts().unwrap().notifiers
}

fn wishes(one: &Notifier) -> [bool; 3] {
    let wishes = one.wishes;
    [wishes.failure, wishes.recovery, wishes.success]
}

#[test]
fn old_names_become_alerts() {
    let host = Host::new()
        .env("DISCORD_WEBHOOK_URL_FILE", "/run/secrets/discord")
        .env("DISCORD_NOTIFY_SUCCESS", "true")
        .env("DISCORD_NOTIFY_FAILURE", "false")
        .env_file("WEBHOOK_URL=https://hooks.slack.com/services/hush");
    let [webhook, discord] = &notifiers(&host)[..] else {
        panic!("{:?}", notifiers(&host));
    };
    let (Way::Webhook(plain), Way::Webhook(chat)) = (&webhook.way, &discord.way) else {
        panic!("no webhooks");
    };
    assert_eq!((webhook.name.as_str(), plain.form), ("webhook", None));
    let url = SecretFrom::Setting(Secret::new("https://hooks.slack.com/services/hush"));
    assert_eq!(plain.url, url);
    assert_eq!(wishes(webhook), [true, true, false]);
    assert_eq!(discord.name, "discord");
    assert_eq!(chat.form, Some(Form::Discord));
    assert_eq!(chat.url, SecretFrom::File("/run/secrets/discord".into()));
    assert_eq!(wishes(discord), [false, false, true]);
    assert!(host.layers().unwrap().notes().unwrap().is_empty());
    let shown: Vec<_> = host.layers().unwrap().show().map(Result::unwrap).collect();
    let json = serde_json::to_string(&shown).unwrap();
    assert!(json.contains("alert.webhook.url"), "{json}");
    assert!(!json.contains("hush"), "{json}");
    assert!(!format!("{:?}", notifiers(&host)).contains("hush"));

    let host = Host::new().env("DISCORD_NOTIFY_SUCCESS", "true");
    assert_eq!(notifiers(&host).len(), 0);
    let notes = host.layers().unwrap().notes().unwrap();
    let said = "variable DISCORD_NOTIFY_SUCCESS is set, but not used: no alert is named discord";
    assert_eq!(notes, [Note::Warning(said.to_owned())]);
}

#[test]
fn variables_name_the_alert() {
    let host = Host::new()
        .env("PGSTOW_ALERT_MAIL_TO", "a@example.org, B <b@example.org>")
        .env("PGSTOW_ALERT_MAIL_ON", "success")
        .env("PGSTOW_ALERT_OP_S_URL_FILE", "/b")
        .file("[alert.op-s]\n[alert.mail]\ntls = 'tls'", 0o644);
    let [ops, mail] = &notifiers(&host)[..] else {
        panic!("{:?}", notifiers(&host));
    };
    assert_eq!(ops.name, "op-s");
    assert_eq!(wishes(mail), [false, false, true]);
    let Way::Mail(letter) = &mail.way else {
        panic!("{mail:?}");
    };
    assert_eq!((letter.security, letter.port), (Security::Tls, 465));
    assert!(host.layers().unwrap().notes().unwrap().is_empty());
}

#[test]
fn mistakes_are_named_and_harm_no_other_command() {
    for (section, expected) in [
        ("on = ['failure']", "[alert.x] has neither url nor to"),
        ("url = 'x'\nto = 'a@b.c'", "[alert.x] has both url and to"),
        ("to = 'nobody'", "pgstow.toml:2: bad value for alert.x.to"),
        ("to = 'a@b.c'\nfrom = '@'", "pgstow.toml:3: bad value for"),
        ("to = 'a@b.c'\nuser = 'u'", "[alert.x] has a user, but no"),
        ("to = 'a@b.c'\ntls = 'no'", "pgstow.toml:3: bad value for"),
        ("url = 'x'\nform = 'irc'", "pgstow.toml:3: bad value for"),
        ("url = 'x'\non = ['win']", "pgstow.toml:3: bad value for"),
    ] {
        let host = Host::new().file(&format!("[alert.x]\n{section}"), 0o600);
        let layers = host.layers().unwrap();
        assert!(layers.settings().is_ok(), "{section}");
        let error = layers.alerts().unwrap_err().in_one_line();
        let folder = format!("{}/", host.folder.path().display());
        let error = error.replace(&folder, "");
        assert!(error.starts_with(expected), "{section}: {error}");
    }
    let secret = Host::new().file("[alert.x]\nurl = 'https://x'", 0o644);
    let said = "pgstow.toml:2: alert.x.url can be read by every user";
    let layers = secret.layers().unwrap();
    assert!(layers.settings().is_ok());
    let error = layers.alerts().unwrap_err().in_one_line();
    assert!(error.ends_with(said), "{error}");
    let odd = Host::new().file("[repo.local]\nurl = ['/x']", 0o600);
    assert!(odd.error().contains("bad value for repo.local.url"));
}
