//! `RefCOCO`, `RefCOCO+` and `RefCOCOg` as MDETR prepared them: a phrase an image entry, its box in step.

use std::path::Path;

use serde::Deserialize;

use super::dataset::{Builder, Dataset};
use super::draft::{Content, Draft};
use super::json::list_in;
use super::record::Region;
use super::skipped::SkipReason;
use crate::DataError;

#[derive(Deserialize)]
struct Image {
    id: Option<u64>,
    file_name: Option<String>,
    width: Option<f64>,
    height: Option<f64>,
    caption: Option<String>,
}

/// COCO's, whose box is the left and upper edge, the width and the height.
#[derive(Deserialize)]
struct Annotation {
    image_id: Option<u64>,
    bbox: Option<[f64; 4]>,
}

impl Dataset {
    /// Reads `finetune_refcoco_train.json`, `finetune_refcoco+_train.json` or
    /// `finetune_refcocog_train.json`. The image folder is COCO's `train2014`. An image entry is a
    /// record; the annotation in its place must be of its id.
    ///
    /// # Errors
    /// [`DataError::Io`] and [`DataError::Annotations`].
    pub fn refcoco(file: &Path) -> Result<Self, DataError> {
        let mut builder = Builder::default();
        let mut annotations = Vec::new();
        list_in(
            file,
            "annotations",
            |_, annotation: Result<Annotation, _>| {
                // One that cannot be read keeps its place, since the two lists go in step.
                annotations.push(annotation);
            },
        )?;
        let mut annotations = annotations.into_iter();
        list_in(file, "images", |number, image: Result<Image, _>| {
            let annotation = annotations.next();
            match image {
                Ok(image) => {
                    let key = image.id.map_or_else(String::new, |id| id.to_string());
                    builder.push(key, draft(image, annotation));
                }
                Err(reason) => builder.push(number, Err(reason)),
            }
        })?;
        for annotation in annotations {
            let id = annotation.ok().and_then(|it| it.image_id);
            let key = id.map_or_else(String::new, |id| id.to_string());
            builder.push(key, Err(SkipReason::Unmatched));
        }
        Ok(builder.finish())
    }
}

fn draft(
    image: Image,
    annotation: Option<Result<Annotation, SkipReason>>,
) -> Result<Draft, SkipReason> {
    let Annotation { image_id, bbox } = annotation.ok_or(SkipReason::Unmatched)??;
    if image_id.ok_or(SkipReason::MissingField)? != image.id.ok_or(SkipReason::MissingField)? {
        return Err(SkipReason::Unmatched);
    }
    let bbox = bbox.ok_or(SkipReason::MissingField)?;
    let width = image.width.ok_or(SkipReason::ImageSize)?;
    let height = image.height.ok_or(SkipReason::ImageSize)?;
    Ok(Draft {
        images: vec![image.file_name.ok_or(SkipReason::MissingField)?],
        content: Content::Region {
            region: Region::from_pixels(bbox, width, height).ok_or(SkipReason::Region)?,
            phrase: image.caption.ok_or(SkipReason::MissingField)?,
        },
    })
}
