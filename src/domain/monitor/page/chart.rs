//! A figure of each backup over time, as bars.

use super::{
    html::Html,
    picture::{Picture, in_picture, line},
    scale::{Scale, percent},
};
use crate::util::clock::Time;

/// Pixels: of the picture, and above its highest bar.
const HEIGHT: f64 = 130.0;
const HEAD: f64 = 20.0;

/// More bars are drawn thinner.
const MANY: usize = 60;

#[derive(Clone, Debug)]
pub struct Bar {
    pub time: Time,
    pub value: f64,
    /// Of its colour.
    pub class: &'static str,
    /// What it is and how much.
    pub told: String,
}

pub struct Chart<'a> {
    pub title: &'a str,
    pub description: &'a str,
    pub scale: Scale,
    pub bars: &'a [Bar],
    /// How a value is written at the axis.
    pub unit: fn(f64) -> String,
}

impl Chart<'_> {
    pub fn draw(&self, html: &mut Html) {
        let most = self.bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
        let picture = Picture {
            title: self.title,
            description: self.description,
            scale: self.scale,
            height: HEIGHT,
        };
        picture.draw(html, |html| {
            let class = if self.bars.len() > MANY {
                "bars many"
            } else {
                "bars"
            };
            html.tag("g", &[("class", class)], |html| {
                self.bars.iter().for_each(|bar| self.bar(html, bar, most));
            });
            // Words lie on top.
            for share in [0.5, 1.0] {
                self.line(html, share, most);
            }
        });
    }

    fn line(&self, html: &mut Html, share: f64, most: f64) {
        let (at, above) = (y(share, 1.0), y(share, 1.0) - 4.0);
        let (at, above) = (in_picture(at), in_picture(above));
        line(html, "tick", ["0", "100%"], [&at, &at]);
        let text = (self.unit)(most * share);
        html.leaf("text", &[("x", "0"), ("y", &above)], text);
    }

    fn bar(&self, html: &mut Html, bar: &Bar, most: f64) {
        let x = percent(self.scale.x(bar.time));
        let (top, bottom) = (in_picture(y(bar.value, most)), in_picture(HEIGHT));
        let line = [
            ("class", bar.class),
            ("x1", x.as_str()),
            ("x2", &x),
            ("y1", &top),
            ("y2", &bottom),
        ];
        html.tag("line", &line, |html| html.leaf("title", &[], &bar.told));
    }
}

/// Pixels from the top; at least one above the ground, so that nothing is invisible.
fn y(value: f64, most: f64) -> f64 {
    let share = match most > 0.0 {
        true => (value / most).clamp(0.0, 1.0),
        false => 0.0,
    };
    (HEIGHT - share * (HEIGHT - HEAD)).min(HEIGHT - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, TimeDelta};

    /// Everything that the picture of these values has at a place.
    fn places(values: &[f64]) -> Vec<f64> {
        let now = DateTime::UNIX_EPOCH;
        let bars: Vec<Bar> = values
            .iter()
            .zip(1..)
            .map(|(value, number)| Bar {
                time: now - TimeDelta::hours(number),
                value: *value,
                class: "full",
                told: "<&>".to_owned(),
            })
            .collect();
        let scale = Scale::over(bars.iter().map(|bar| bar.time), now);
        let mut html = Html::default();
        Chart {
            title: "t",
            description: "d",
            scale,
            bars: &bars,
            unit: |value| format!("{value}"),
        }
        .draw(&mut html);
        let text = html.into_text();
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        assert_eq!(text.matches("&lt;&amp;&gt;").count(), values.len());
        let attributes = text.split(['<', ' ', '/', '>']);
        attributes
            .filter_map(|part| {
                let (name, value) = part.split_once("=\"")?;
                let number = value.strip_suffix('"')?.trim_end_matches('%');
                ["x1", "x2", "y1", "y2", "x", "y"]
                    .contains(&name)
                    .then(|| number.parse().ok())
                    .flatten()
            })
            .collect()
    }

    #[test]
    fn everything_lies_inside_whatever_the_values() {
        let many: Vec<f64> = (0..1000).map(f64::from).collect();
        for values in [
            &[][..],
            &[0.0],
            &[7.0],
            &[0.0, 0.0],
            &[1e300, 1.0],
            &[f64::MAX, 0.0],
            &many,
        ] {
            let places = places(values);
            assert!(places.len() >= 4 * values.len());
            for place in places {
                assert!((0.0..=HEIGHT + 20.0).contains(&place), "{place}");
            }
        }
    }
}
