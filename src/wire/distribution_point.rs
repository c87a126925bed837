//! Distribution points (RFC 5280 4.2.1.13, 5.2.5): the names by which certificates and CRLs tell which CRL a
//! certificate is on, as text.

use super::{
    name::name_text,
    tlv::{DerError, Element, Reader, tag, wrap},
};

/// The names that an IssuingDistributionPoint has; none where it has no distribution point.
pub fn names_of_issuing_point(idp: &[u8], issuer: &[u8]) -> Result<Vec<String>, DerError> {
    let mut fields = Reader::whole(idp, tag::SEQUENCE)?.reader();
    match fields.optional(tag::context_constructed(0))? {
        Some(name) => names(name, issuer),
        None => Ok(Vec::new()),
    }
}

/// The names of all points of a CRLDistributionPoints.
pub fn names_of_points(points: &[u8], issuer: &[u8]) -> Result<Vec<String>, DerError> {
    let mut points = Reader::whole(points, tag::SEQUENCE)?.reader();
    let mut all = Vec::new();
    while !points.is_empty() {
        let mut fields = points.expect(tag::SEQUENCE)?.reader();
        if let Some(name) = fields.optional(tag::context_constructed(0))? {
            all.append(&mut names(name, issuer)?);
        }
    }
    Ok(all)
}

/// The URIs and distinguished names of a DistributionPointName, as text.
pub fn names(name: Element<'_>, issuer: &[u8]) -> Result<Vec<String>, DerError> {
    const URI: u8 = tag::context(6);
    const DIRECTORY_NAME: u8 = tag::context_constructed(4);
    const FULL_NAME: u8 = tag::context_constructed(0);
    const RELATIVE: u8 = tag::context_constructed(1);
    let mut choice = name.reader();
    let form = choice.next_element()?;
    choice.finish()?;
    let mut all = Vec::new();
    match form.tag {
        FULL_NAME => {
            let mut names = form.reader();
            while !names.is_empty() {
                let name = names.next_element()?;
                match name.tag {
                    URI => all.push(name.value.escape_ascii().to_string()),
                    DIRECTORY_NAME => all.push(name_text(name.value).ok_or(DerError::Value)?),
                    _ => {}
                }
            }
        }
        RELATIVE => {
            let above = Reader::whole(issuer, tag::SEQUENCE)?.value;
            let added = wrap(tag::SET, &[form.value]);
            let whole = wrap(tag::SEQUENCE, &[above, &added]);
            all.push(name_text(&whole).ok_or(DerError::Value)?);
        }
        _ => return Err(DerError::UnexpectedTag),
    }
    Ok(all)
}
