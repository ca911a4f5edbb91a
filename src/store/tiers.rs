//! When runs become one: so that a look touches few, and each entry is written again few times.

/// From which of the runs on, given by their sizes with the newest last, all are to become one:
/// when there are `fan` of a size behind the last that is larger, with what smaller ones there are.
/// Those up to `small` are of the smallest size, and each further size is `fan` times as large.
pub(super) fn due(sizes: &[u64], fan: usize, small: u64) -> Option<usize> {
    let mut most = small;
    loop {
        let larger = sizes.iter().rposition(|size| *size > most);
        let first = larger.map_or(0, |larger| larger + 1);
        let least = if most == small { 0 } else { most / fan as u64 + 1 };
        if sizes[first..].iter().filter(|size| **size >= least).count() >= fan {
            return Some(first);
        }
        larger?;
        most = most.saturating_mul(fan as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_left_and_each_is_written_again_seldom() {
        let (mut sizes, mut written) = (Vec::new(), 0);
        for step in 1..=1_000 {
            sizes.push(10);
            while let Some(first) = due(&sizes, 4, 20) {
                let sum: u64 = sizes.drain(first..).sum();
                written += sum;
                sizes.push(sum);
            }
            assert_eq!(sizes.iter().sum::<u64>(), 10 * step);
            assert!(sizes.len() <= 18, "{sizes:?}");
        }
        assert!(written <= 6 * 10 * 1_000, "{written}");
        assert_eq!(due(&[], 4, 20), None);
    }
}
