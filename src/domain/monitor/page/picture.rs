//! What all pictures share: the frame, the words for who can't see it, and the axis of time.

use super::{
    html::Html,
    scale::{Scale, percent},
};

/// Pixels below the picture for the axis.
const AXIS: f64 = 26.0;

pub struct Picture<'a> {
    pub title: &'a str,
    /// What it shows, in words.
    pub description: &'a str,
    pub scale: Scale,
    /// Pixels, without the axis.
    pub height: f64,
}

impl Picture<'_> {
    pub fn draw(&self, html: &mut Html, inside: impl FnOnce(&mut Html)) {
        let (title, description) = (html.id(), html.id());
        let height = in_picture(self.height + AXIS);
        let attributes = [
            ("class", "picture"),
            ("role", "img"),
            ("aria-labelledby", title.as_str()),
            ("aria-describedby", &description),
            ("width", "100%"),
            ("height", &height),
        ];
        html.tag("svg", &attributes, |html| {
            html.leaf("title", &[("id", &title)], self.title);
            html.leaf("desc", &[("id", &description)], self.description);
            self.axis(html);
            inside(html);
        });
    }

    fn axis(&self, html: &mut Html) {
        let (bottom, words) = (in_picture(self.height), in_picture(self.height + 18.0));
        for tick in self.scale.ticks() {
            let x = percent(tick.x);
            line(html, "tick", [&x, &x], ["0", &bottom]);
            if let Some(label) = tick.label {
                let text = [("x", x.as_str()), ("y", &words), ("text-anchor", "middle")];
                html.leaf("text", &text, label);
            }
        }
        line(html, "axis", ["0", "100%"], [&bottom, &bottom]);
    }
}

/// From one point to another, as their two x and their two y.
pub fn line(html: &mut Html, class: &str, [x1, x2]: [&str; 2], [y1, y2]: [&str; 2]) {
    let attributes = [
        ("class", class),
        ("x1", x1),
        ("x2", x2),
        ("y1", y1),
        ("y2", y2),
    ];
    html.shape("line", &attributes);
}

/// Pixels as an attribute.
pub fn in_picture(pixels: f64) -> String {
    format!("{pixels:.1}")
}
