//! One training conversation, with the pictures it is about.

use crate::DataError;
use crate::text::{Message, Role, Sequence, Template, Tokenizer};

/// A conversation to be learned: every answer of it is labelled.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Names the record in its source: the id its makers gave, or its number.
    pub key: String,
    /// Pictures in the order in which the messages show them, relative to the image folder.
    /// They lead nowhere outside it.
    pub images: Vec<String>,
    /// A system message or none, then questions and answers by turns.
    pub messages: Vec<Message>,
    /// The region that is asked about, if the question names one.
    pub region: Option<Region>,
}

/// Part of a picture: corners in shares of its width and height, so 0 to 1 within it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// Left edge.
    pub x1: f64,
    /// Upper edge.
    pub y1: f64,
    /// Right edge.
    pub x2: f64,
    /// Lower edge.
    pub y2: f64,
}

impl Record {
    /// The same with its region elsewhere, in the question too: for a picture that was cropped or
    /// flipped. A record without a region stays as it is.
    #[must_use]
    pub fn with_region(mut self, region: Region) -> Self {
        if self.region.is_some() {
            let mut users = self.messages.iter_mut().filter(|m| m.role == Role::User);
            if let Some(question) = users.next() {
                question.text = region.question();
            }
            self.region = Some(region);
        }
        self
    }

    /// Ids and labels; a picture becomes `media_len` positions.
    ///
    /// # Errors
    /// As [`Template::training_conversation`].
    pub fn encode(
        &self,
        template: &Template,
        tokenizer: &Tokenizer,
        media_len: usize,
    ) -> Result<Sequence, DataError> {
        template.training_conversation(tokenizer, &self.messages, media_len)
    }
}

impl Region {
    /// From the upper left corner and the size, all in pixels. None if the numbers are not finite,
    /// or the region or the picture has no area.
    pub(super) fn from_pixels([x, y, w, h]: [f64; 4], width: f64, height: f64) -> Option<Self> {
        let region = Self {
            x1: x / width,
            y1: y / height,
            x2: (x + w) / width,
            y2: (y + h) / height,
        };
        let finite = [region.x1, region.y1, region.x2, region.y2]
            .iter()
            .all(|corner| corner.is_finite());
        (finite && width > 0.0 && height > 0.0 && w > 0.0 && h > 0.0).then_some(region)
    }

    /// The question for what is in the region; three decimals a corner.
    pub fn question(&self) -> String {
        let Self { x1, y1, x2, y2 } = self;
        format!(
            "Provide a short description for this region. \
             <bbox>[{x1:.3}, {y1:.3}][{x2:.3}, {y2:.3}]</bbox>"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_without_area_is_none() {
        let ok = [1.0, 2.0, 3.0, 4.0];
        assert!(Region::from_pixels(ok, 8.0, 8.0).is_some());
        for (pixels, width) in [
            ([1.0, 2.0, 0.0, 4.0], 8.0),
            ([1.0, 2.0, 3.0, -4.0], 8.0),
            ([f64::MAX, 2.0, f64::MAX, 4.0], 8.0),
            (ok, 0.0),
        ] {
            assert_eq!(Region::from_pixels(pixels, width, 8.0), None);
        }
    }

    #[test]
    fn a_moved_region_is_asked_for_where_it_is() {
        let region = Region::from_pixels([1.0, 2.0, 3.0, 4.0], 8.0, 8.0).expect("a region");
        let message = |role, text: String| Message {
            role,
            text,
            pictures: 0,
        };
        let record = Record {
            key: String::new(),
            images: Vec::new(),
            messages: vec![
                message(Role::User, region.question()),
                message(Role::Assistant, "a hat".to_owned()),
            ],
            region: Some(region),
        };
        let flipped = Region {
            x1: 1.0 - region.x2,
            x2: 1.0 - region.x1,
            ..region
        };
        let moved = record.clone().with_region(flipped);
        assert_eq!(
            moved.messages[0].text,
            "Provide a short description for this region. <bbox>[0.500, 0.250][0.875, 0.750]</bbox>"
        );
        assert_eq!(moved.region, Some(flipped));
        assert_eq!(moved.messages[1], record.messages[1]);
    }
}
