//! Patterns of parameter paths.

/// Whether `name` is what `pattern` says, in which `*` stands for any characters, dots too.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(name) = name.strip_prefix(head) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    let Some(mut name) = name.strip_suffix(tail) else {
        return false;
    };
    parts.into_iter().all(|part| match name.find(part) {
        Some(at) => {
            name = &name[at + part.len()..];
            true
        }
        None => false,
    })
}

/// The one of `names` that `pattern`, which fits none, was most likely meant for.
pub(super) fn nearest<'a>(pattern: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<&str> = pattern.split('.').collect();
    // As many of a name's parts as the pattern has, on the side that it says something of.
    let distance = |name: &str| {
        let parts: Vec<&str> = name.split('.').collect();
        let count = wanted.len().min(parts.len());
        let parts = match pattern.starts_with('*') {
            true => &parts[parts.len() - count..],
            false => &parts[..count],
        };
        let each = wanted
            .iter()
            .zip(parts)
            .filter(|(wanted, _)| **wanted != "*");
        let differ = each.map(|(wanted, part)| strsim::damerau_levenshtein(wanted, part));
        differ.sum::<usize>() + wanted.len() - count
    };
    names.min_by_key(|name| distance(name))
}

#[cfg(test)]
mod tests {
    use super::{fits, nearest};

    #[test]
    fn a_star_is_any_characters() {
        let name = "lang_model.model.layers.0.self_attn.qkv_proj.weight";
        for pattern in [
            name,
            "*",
            "lang_model.*",
            "*.weight",
            "*norm*proj*",
            "*self_attn*",
            "lang_model.model.layers.*.qkv_proj.weight",
            "*.layers.0.*.weight",
            "lang*model*weight",
            "**",
        ] {
            assert_eq!(fits(pattern, name), pattern != "*norm*proj*", "{pattern}");
        }
        for pattern in [
            "",
            "lang_model",
            "*.bias",
            "*weight.weight",
            "weight*",
            "l*w",
        ] {
            assert!(!fits(pattern, name), "{pattern}");
        }
        // The end of one part is not the beginning of the next.
        assert!(!fits("ab*ba", "aba"));
        assert!(fits("ä*ö", "äéö"));
    }

    #[test]
    fn the_nearest_is_compared_part_by_part() {
        let names = [
            "vision_encoder.embeddings.patch_embedding.bias",
            "vision_tokenizer.latents",
            "lang_model.model.norm.weight",
        ];
        let near = |pattern| nearest(pattern, names.into_iter());
        assert_eq!(near("vision_encodr.*"), Some(names[0]));
        assert_eq!(near("vision_tokeniser.latent"), Some(names[1]));
        assert_eq!(near("*.norm.wieght"), Some(names[2]));
        assert_eq!(nearest("a", [].into_iter()), None);
    }
}
