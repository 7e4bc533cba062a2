//! Uploads in pieces that were begun and never finished nor given up, as those of a killed process: they are in no
//! listing of objects, and cost. S3 lists them; Azure forgets them by itself after a week; at Google a rule of the
//! bucket does it.

use std::time::Duration;

use http::{Method, Request};
use object_store::{
    aws::AwsAuthorizer,
    client::HttpRequestBody,
    multipart::MultipartStore,
    path::Path as StorePath,
    signer::{SignedUrlOptions, Signer},
};
use serde::Deserialize;

use super::{
    access::Bucket,
    connect::{self, Alone},
    failure::failure,
};
use crate::{
    error::{Error, Result},
    util::clock::Time,
};

/// A request is sent at once.
const SIGNED_FOR: Duration = Duration::from_secs(5 * 60);

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_key_marker: String,
    #[serde(default)]
    next_upload_id_marker: String,
    #[serde(default, rename = "Upload")]
    uploads: Vec<Begun>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Begun {
    key: String,
    upload_id: String,
    initiated: Time,
}

/// Has the store forget uploads of objects below `folder` that were begun before `before`, if that is given. How many.
pub async fn forget(bucket: &Bucket, folder: &str, before: Option<Time>) -> Result<u64> {
    let Some(alone) = connect::s3_alone(bucket)? else {
        return Ok(0);
    };
    let place = format!(
        "unfinished uploads below {}://{}/{folder}",
        bucket.provider.scheme(),
        bucket.name
    );
    let (mut forgotten, mut key, mut id) = (0, String::new(), String::new());
    loop {
        let page = page(&alone, folder, [&key, &id], &place).await?;
        let old = page.uploads.iter().filter(|one| {
            // Not every store heeds what it is asked for.
            one.key.starts_with(folder) && before.is_none_or(|before| one.initiated < before)
        });
        for one in old {
            let path = StorePath::parse(&one.key).map_err(|error| {
                Error::damaged(format!("no object's name: {:?}", one.key)).because(error)
            })?;
            match alone.store.abort_multipart(&path, &one.upload_id).await {
                Ok(()) => forgotten += 1,
                // Finished or forgotten meanwhile.
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(failure("forget", &place, &error)),
            }
        }
        let goes_on = page.is_truncated && page.next_key_marker > key;
        if !goes_on {
            return Ok(forgotten);
        }
        (key, id) = (page.next_key_marker, page.next_upload_id_marker);
    }
}

/// No error of it has the request's URL or headers.
async fn page(alone: &Alone, folder: &str, [key, id]: [&str; 2], place: &str) -> Result<Page> {
    let unusable = || Error::failed(format!("can't list {place}"));
    let failed = |error: object_store::Error| failure("list", place, &error);
    let mut query = vec![("uploads", ""), ("prefix", folder)];
    if !key.is_empty() {
        query.extend([("key-marker", key), ("upload-id-marker", id)]);
    }
    // Where the bucket is, only object_store knows. The signature of its URL is not used: not all that speak the protocol
    // take one there.
    let options = SignedUrlOptions::new().with_query(query);
    let mut url = alone
        .store
        .signed_url_opts(Method::GET, &StorePath::default(), SIGNED_FOR, &options)
        .await
        .map_err(failed)?;
    let plain: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| !name.to_ascii_lowercase().starts_with("x-amz-"))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    url.query_pairs_mut().clear().extend_pairs(plain);
    let mut request = Request::get(url.as_str())
        .body(HttpRequestBody::empty())
        .map_err(|_| unusable().because("the bucket has no usable address"))?;
    let credential = alone
        .store
        .credentials()
        .get_credential()
        .await
        .map_err(failed)?;
    AwsAuthorizer::new(&credential, "s3", &alone.region)
        .try_authorize(&mut request, None)
        .map_err(failed)?;
    let answer = alone
        .http
        .execute(request)
        .await
        .map_err(|error| unusable().because(format!("no answer ({:?})", error.kind())))?;
    let status = answer.status();
    let body = answer.into_body().bytes().await;
    let body = body.map_err(|_| unusable().because("the answer broke off"))?;
    let text = String::from_utf8_lossy(&body);
    if !status.is_success() {
        let code = text
            .split_once("<Code>")
            .and_then(|(_, rest)| rest.split_once("</Code>"));
        let code = code.map_or_else(String::new, |(code, _)| format!(" {code}"));
        return Err(unusable().because(format!("the store answers {}{code}", status.as_u16())));
    }
    quick_xml::de::from_str(&text).map_err(|error| unusable().because(error))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_page_as_aws_documents_it() {
        let page: Page = quick_xml::de::from_str(
            r#"<?xml version="1.0" encoding="UTF-8"?>
            <ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
              <Bucket>b</Bucket><KeyMarker/><UploadIdMarker/>
              <NextKeyMarker>k2</NextKeyMarker><NextUploadIdMarker>i2</NextUploadIdMarker>
              <MaxUploads>2</MaxUploads><IsTruncated>true</IsTruncated>
              <Upload><Key>k1</Key><UploadId>i1</UploadId><Initiator><ID>x</ID></Initiator>
                <StorageClass>STANDARD</StorageClass><Initiated>2026-11-10T20:48:33.000Z</Initiated></Upload>
              <Upload><Key>k2</Key><UploadId>i2</UploadId><Initiated>2026-11-10T20:48:33.000Z</Initiated></Upload>
            </ListMultipartUploadsResult>"#,
        )
        .unwrap();
        assert!(page.is_truncated);
        assert_eq!(page.next_key_marker, "k2");
        assert_eq!(page.uploads.len(), 2);
        assert_eq!(page.uploads[1].upload_id, "i2");
        let empty: Page = quick_xml::de::from_str(
            "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>",
        )
        .unwrap();
        assert!(empty.uploads.is_empty());
        assert!(quick_xml::de::from_str::<Page>("<html>no").is_err());
    }
}
