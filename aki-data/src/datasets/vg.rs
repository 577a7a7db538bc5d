//! Visual Genome: regions with phrases, the pictures' sizes in a file of their own.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::dataset::{Builder, Dataset};
use super::draft::{Content, Draft};
use super::json::list;
use super::record::Region;
use super::skipped::SkipReason;
use crate::DataError;

#[derive(Deserialize)]
struct Size {
    image_id: u64,
    width: Option<f64>,
    height: Option<f64>,
}

#[derive(Deserialize)]
struct Image {
    id: u64,
    regions: Option<Vec<Described>>,
}

#[derive(Deserialize)]
struct Described {
    region_id: u64,
    x: Option<f64>,
    y: Option<f64>,
    width: Option<f64>,
    height: Option<f64>,
    phrase: Option<String>,
}

impl Dataset {
    /// Reads Visual Genome's `region_descriptions.json`, with the sizes from `image_data.json`. The
    /// image folder holds the pictures of both parts. A region is a record; the key is its id.
    ///
    /// # Errors
    /// [`DataError::Io`] and [`DataError::Annotations`].
    pub fn vg(regions: &Path, image_data: &Path) -> Result<Self, DataError> {
        let mut builder = Builder::default();
        let mut sizes = HashMap::new();
        // A size that cannot be read is missing where it is needed, and counted there.
        list(image_data, |_, size: Result<Size, _>| {
            if let Ok(size) = size
                && let (Some(width), Some(height)) = (size.width, size.height)
            {
                sizes.insert(size.image_id, (width, height));
            }
        })?;
        list(regions, |number, image: Result<Image, _>| {
            let image = match image {
                Ok(image) => image,
                Err(reason) => return builder.push(number, Err(reason)),
            };
            let Some(regions) = image.regions else {
                return builder.push(image.id, Err(SkipReason::MissingField));
            };
            let size = sizes.get(&image.id).copied();
            for region in regions {
                builder.push(region.region_id, draft(image.id, size, region));
            }
        })?;
        Ok(builder.finish())
    }
}

fn draft(image: u64, size: Option<(f64, f64)>, region: Described) -> Result<Draft, SkipReason> {
    let (width, height) = size.ok_or(SkipReason::ImageSize)?;
    let (Some(x), Some(y), Some(w), Some(h), Some(phrase)) = (
        region.x,
        region.y,
        region.width,
        region.height,
        region.phrase,
    ) else {
        return Err(SkipReason::MissingField);
    };
    let region = Region::from_pixels([x, y, w, h], width, height).ok_or(SkipReason::Region)?;
    Ok(Draft {
        images: vec![format!("{image}.jpg")],
        content: Content::Region { region, phrase },
    })
}
