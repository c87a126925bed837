//! The set against maps of the standard library, and lists against what stands in them.

use std::collections::{HashMap, HashSet};

use super::*;

fn set(serials: &[&[u8]]) -> Issued {
    let mut collected = Serials::default();
    collected.extend(serials.iter().map(|serial| (*serial, Told::default())));
    Issued::new(collected)
}

fn read(text: &str) -> Result<Vec<Vec<u8>>, IssuedError> {
    let serials = Serials::parse(text.as_bytes())?;
    Ok(serials.iter().map(|(serial, _)| serial.to_vec()).collect())
}

#[test]
fn lists_are_read_in_their_usual_forms() {
    let text = "\u{feff}# issued\r\n\n01\n0xAB\n 00:ab:Cd # web\nabc\n000000\n";
    assert_eq!(
        read(text).unwrap(),
        [&[1][..], &[0], &[0, 0xab], &[0x0a, 0xbc], &[0, 0xab, 0xcd]]
    );
    assert_eq!(read(""), Ok(vec![]));
    let longest = "f".repeat(128);
    assert_eq!(read(&format!("000{longest}")).unwrap()[0].len(), 65);
    assert!(
        read(&format!("1{longest}"))
            .unwrap_err()
            .to_string()
            .contains("longer than any")
    );
}

#[test]
fn a_line_may_tell_the_not_after() {
    let text = "01 2027-03-01\n02\t2027-03-01T23:59:59Z # x\n03 2027-03-02T00:00:00.5+00:00\n\
                04\n05 9999-12-31\n06 1970-01-01\n07 2027-03-01\n7 2027-03-03\n07";
    let issued = Issued::new(Serials::parse(text.as_bytes()).unwrap());
    let end = |serial| issued.not_after(&[serial]).map(|end| end.to_string());
    let march = |day| Some(format!("2027-03-0{day}T23:59:59Z"));
    assert_eq!((end(1), end(2), end(3)), (march(1), march(1), march(2)));
    assert_eq!((end(4), end(5)), (None, Some(Seconds::END.to_string())));
    assert_eq!(end(6), Some("1970-01-02T23:59:59Z".into()));
    assert_eq!((end(7), end(8)), (march(3), None));
    assert!(issued.contains(&[4]) && issued.len() == 7);
    let of = |serial, seconds| issued.knows(&[serial], LastDay::from(Seconds::new(seconds)).into());
    let day = LastDay::from(Seconds::new(20_878 * 86_400)).number();
    assert_eq!(day, 20_878);
    assert!(of(5, u64::MAX) && of(1, 0) && !of(1, u64::MAX) && !of(4, 0));
    assert!(issued.knows(&[4], Told::default()) && !issued.knows(&[8], Told::default()));
}

#[test]
fn what_is_no_serial_is_named_by_its_line() {
    for bad in [
        "-01", "0x", "1 2", "1:", ":1", "1::2", "xyz", "\u{e9}1", "V\t1", "0x:", ":",
    ] {
        let error = read(&format!("01\n\n{bad}\n")).unwrap_err();
        assert_eq!(error.line, 3, "{bad}");
        assert!(error.to_string().starts_with("line 3: "));
    }
    for bad in [
        "2027-3-1",
        "2027-02-29",
        "2027-03-01T",
        "2027-03-01T10:00:00",
        "2027-03-01T24:00:00Z",
        "2027-03-01T10:00:00.Z",
        "2027-03-01T10:00:00+01:00",
        "+027-03-01",
        "20270301",
        "Z",
        "2027-03-01-01",
    ] {
        let error = read(&format!("01 {bad}")).unwrap_err().to_string();
        assert!(
            error.contains(&format!("`{bad}` is no notAfter")),
            "{error}"
        );
    }
}

#[test]
fn the_shard_may_stand_behind_the_not_after() {
    let name = "CN=CRL 1,O=A";
    let text = format!("01 2027-03-01 {name}\n02 - {name} # web\r\n03 -\n01 - other\n");
    let issued = Issued::new(Serials::parse(text.as_bytes()).unwrap());
    let shard = |serial| issued.told(&[serial]).unwrap().shard;
    assert_eq!(shard(2), Shard::of(name));
    assert_eq!(shard(1), Shard::of(name).max(Shard::of("other")));
    assert_eq!(shard(3), Shard::UNKNOWN);
    assert!(issued.not_after(&[1]).is_some() && issued.not_after(&[2]).is_none());
    for name in 0..2_000 {
        let shard = Shard::of(&name.to_string());
        let told = Told {
            last_day: LastDay(20_000),
            shard,
        };
        assert!(shard != Shard::UNKNOWN && Told::unpacked(told.packed()) == told);
    }
    for day in [0, 1, 32_766, 32_767, u16::MAX] {
        let kept = Told::unpacked(Told::from(LastDay(day)).packed()).last_day;
        assert_eq!(kept, LastDay(if day > 32_766 { u16::MAX } else { day }));
    }
}

#[test]
fn the_set_is_exact() {
    let mut serials: Vec<_> = (0..5000u32)
        .map(|n| (n * 3).to_be_bytes().to_vec())
        .collect();
    serials.extend([vec![0, 0, 3], vec![0xff], vec![0x7f; 30], vec![]]);
    let serials: Vec<_> = serials.iter().map(Vec::as_slice).collect();
    let issued = set(&serials);
    assert_eq!(issued.len(), 5002);
    for n in 0..15_000u32 {
        assert_eq!(issued.contains(&n.to_be_bytes()), n % 3 == 0, "{n}");
    }
    // -1 was put in, 255 as a multiple of three.
    assert!(issued.contains(&[0xff]) && issued.contains(&[0, 0xff]));
    assert!(issued.contains(&[0x7f; 30]) && !issued.contains(&[0x7f; 29]));
    assert!(!issued.contains(&[]) && !issued.contains(&[0xfd]));
    assert!(!set(&[]).contains(&[0]) && set(&[]).is_empty());
}

/// Numbers that look random, the same at each run.
fn numbers(count: usize) -> impl Iterator<Item = u64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    })
    .take(count)
}

#[test]
fn additions_say_the_same_as_a_hash_map_and_share_what_is_there() {
    let mut model: HashMap<Vec<u8>, u16> = HashMap::new();
    let mut issued = Issued::default();
    let mut older = Vec::new();
    let mut numbers = numbers(usize::MAX);
    for round in 0..400 {
        let mut serials = Serials::default();
        for number in numbers.by_ref().take(1 + round % 50) {
            // Few enough that many come again, of several lengths and both signs.
            let octets = (number % 6000).to_be_bytes();
            let serial = canonical(&octets[usize::from(octets[7] % 2) * 7..]).to_vec();
            let day = if number >> 63 == 0 {
                0
            } else {
                u16::try_from(number >> 48).unwrap()
            };
            serials.add(&serial, LastDay(day));
            let known = model.entry(serial).or_default();
            *known = day.max(*known);
        }
        let before = issued.clone();
        issued = issued.plus(serials);
        older.push(before);
        assert!(issued.sets.len() <= 6, "{} sets", issued.sets.len());
    }
    for number in 0..6000u64 {
        let serial = number.to_be_bytes();
        let known = model.get(canonical(&serial)).copied();
        assert_eq!(issued.contains(&serial), known.is_some(), "{number}");
        assert_eq!(
            issued.not_after(&serial),
            known.and_then(|day| Told::unpacked(Told::from(LastDay(day)).packed())
                .last_day
                .end())
        );
    }
    let listed: HashSet<_> = issued.iter().map(|(serial, _)| serial.to_vec()).collect();
    assert_eq!(listed, model.into_keys().collect());
    assert!(older[0].is_empty() && older[1].len() == 1);
    let all = Issued::union([&older[1], &set(&[&[0x55; 16]])]);
    assert!(all.contains(&[0x55; 16]) && all.len() == 2 && all.not_after(&[0x55; 16]).is_none());
}

#[test]
fn random_serials_are_found_and_no_others() {
    let serial = |number: u64| [number.to_be_bytes(), (!number).to_be_bytes()].concat();
    let numbers: Vec<_> = numbers(60_000).collect();
    let (inside, outside) = numbers.split_at(30_000);
    let mut serials = Serials::default();
    for number in inside {
        serials.add(&serial(*number), Told::default());
    }
    let issued = Issued::new(serials);
    assert!(
        inside
            .iter()
            .all(|number| issued.contains(&serial(*number)))
    );
    assert!(
        !outside
            .iter()
            .any(|number| issued.contains(&serial(*number)))
    );
}
