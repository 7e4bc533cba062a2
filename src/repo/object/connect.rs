//! Makes a client of a bucket's provider out of what is configured and what the environment has.

use std::{fs, sync::Arc};

use object_store::{
    Certificate, ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, Checksum},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    client::{HttpClient, HttpConnector, ReqwestConnector},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
};

use super::{
    access::{Access, Bucket, Provider},
    profile::Profile,
    wire::{self, Telling},
};
use crate::error::{Error, IoContext, Result};

/// Where AWS's own tools go without a region. Stores of others take any.
const REGION: &str = "us-east-1";

pub fn connect(bucket: &Bucket, retry: RetryConfig) -> Result<Arc<dyn ObjectStore>> {
    let built = match bucket.provider {
        Provider::S3 => s3(bucket, retry)?.build().map(arc),
        Provider::Gs => google(bucket, retry)?.build().map(arc),
        Provider::Az => azure(bucket, retry)?.build().map(arc),
    };
    built.map_err(|error| unready(bucket, &error))
}

/// A client of S3 itself, for what stores have no common word for; None of other providers.
pub fn s3_alone(bucket: &Bucket) -> Result<Option<Alone>> {
    match bucket.provider {
        Provider::S3 => {
            let builder = s3(bucket, wire::patient())?;
            let region = builder.get_config_value(&AmazonS3ConfigKey::Region);
            Ok(Some(Alone {
                region: region.unwrap_or_default(),
                store: builder.build().map_err(|error| unready(bucket, &error))?,
                http: ReqwestConnector::default()
                    .connect(&options(&bucket.access)?)
                    .map_err(|error| unready(bucket, &error))?,
            }))
        }
        Provider::Gs | Provider::Az => Ok(None),
    }
}

/// What is needed for a request of our own.
pub struct Alone {
    pub store: AmazonS3,
    pub region: String,
    pub http: HttpClient,
}

fn unready(bucket: &Bucket, error: &object_store::Error) -> Error {
    Error::usage(format!("can't make ready for {bucket}"))
        .because(error.to_string())
        .hint("conf/pgstow.toml tells the keys of a repository in a bucket.")
}

fn arc<S: ObjectStore>(store: S) -> Arc<dyn ObjectStore> {
    Arc::new(store)
}

fn s3(bucket: &Bucket, retry: RetryConfig) -> Result<AmazonS3Builder> {
    let access = &bucket.access;
    let mut builder = AmazonS3Builder::from_env();
    if access.access_key.is_none() {
        let in_environment = AmazonS3ConfigKey::AccessKeyId;
        let asked = access.profile.is_some();
        if asked || builder.get_config_value(&in_environment).is_none() {
            builder = with_profile(builder, Profile::find(access.profile.as_deref())?);
        }
    }
    if let Some(key) = &access.access_key {
        // A token of the environment belongs to another key.
        builder = AmazonS3Builder::new().with_access_key_id(key);
    }
    if let Some(key) = &access.secret_key {
        builder = builder.with_secret_access_key(key.read()?.expose());
    }
    if let Some(endpoint) = &access.endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
    }
    let region = builder.get_config_value(&AmazonS3ConfigKey::Region);
    let region = access.region.clone().or(region);
    // Buckets of a server of one's own have no names in the DNS.
    let path_style = access.path_style.unwrap_or(access.endpoint.is_some());
    if let Some(key) = &access.kms_key {
        builder = builder.with_sse_kms_encryption(key);
    }
    Ok(builder
        .with_bucket_name(&bucket.name)
        // A bucket with object lock takes nothing without one.
        .with_checksum_algorithm(Checksum::SHA256)
        .with_region(region.unwrap_or_else(|| REGION.to_owned()))
        .with_virtual_hosted_style_request(!path_style)
        .with_allow_http(plain(access))
        .with_client_options(options(access)?)
        .with_retry(retry)
        .with_http_connector(Telling::of(bucket)))
}

fn with_profile(mut builder: AmazonS3Builder, profile: Profile) -> AmazonS3Builder {
    if let (Some(id), Some(key)) = (profile.key_id, profile.secret_key) {
        builder = builder
            .with_access_key_id(id)
            .with_secret_access_key(key.expose());
        if let Some(token) = profile.token {
            builder = builder.with_token(token.expose());
        }
    }
    match profile.region {
        Some(region) => builder.with_region(region),
        None => builder,
    }
}

fn google(bucket: &Bucket, retry: RetryConfig) -> Result<GoogleCloudStorageBuilder> {
    let access = &bucket.access;
    let mut builder = GoogleCloudStorageBuilder::from_env();
    if let Some(path) = &access.credentials_file {
        builder = builder.with_config(
            GoogleConfigKey::ApplicationCredentials,
            path.to_string_lossy(),
        );
    }
    if let Some(endpoint) = &access.endpoint {
        builder = builder.with_base_url(endpoint.trim_end_matches('/'));
    }
    Ok(builder
        .with_bucket_name(&bucket.name)
        .with_client_options(options(access)?.with_allow_http(plain(access)))
        .with_retry(retry)
        .with_http_connector(Telling::of(bucket)))
}

fn azure(bucket: &Bucket, retry: RetryConfig) -> Result<MicrosoftAzureBuilder> {
    let access = &bucket.access;
    let mut builder = MicrosoftAzureBuilder::from_env();
    if let Some(account) = &access.access_key {
        builder = builder.with_account(account);
    }
    if let Some(key) = &access.secret_key {
        builder = builder.with_access_key(key.read()?.expose());
    }
    if let Some(endpoint) = &access.endpoint {
        builder = builder.with_config(AzureConfigKey::Endpoint, endpoint.trim_end_matches('/'));
    }
    Ok(builder
        .with_container_name(&bucket.name)
        .with_allow_http(plain(access))
        .with_client_options(options(access)?.with_allow_http(plain(access)))
        .with_retry(retry)
        .with_http_connector(Telling::of(bucket)))
}

/// Whether the configured server speaks without TLS.
fn plain(access: &Access) -> bool {
    let endpoint = access.endpoint.as_deref();
    endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"))
}

fn options(access: &Access) -> Result<ClientOptions> {
    let mut options = wire::client_options().with_allow_http(plain(access));
    if let Some(path) = &access.ca_file {
        let pem = fs::read(path).at("read", path)?;
        let all = Certificate::from_pem_bundle(&pem).ok();
        let all = all.filter(|all| !all.is_empty()).ok_or_else(|| {
            Error::damaged(format!("there is no certificate in {}", path.display()))
        })?;
        options = options.with_no_system_certificates(true);
        for one in all {
            options = options.with_root_certificate(one);
        }
    }
    Ok(options)
}
