--- What the error codes of S3 services mean: { [code] = { our code, hint } }. `%s` in a hint is the
--- bucket.
return {
  NoSuchBucket = { "NOT_FOUND", "there is no bucket %s: create it, or correct the store's URL" },
  NoSuchKey = { "NOT_FOUND" },
  NoSuchUpload = { "NOT_FOUND", "somebody has ended this upload: a lifecycle rule that aborts " ..
    "incomplete uploads must leave them more time than a backup takes" },
  AccessDenied = { "PERMISSION_DENIED", "the credentials may not do that in bucket %s: they need " ..
    "s3:ListBucket, s3:GetObject, s3:PutObject and s3:AbortMultipartUpload, and s3:DeleteObject " ..
    "where backups expire" },
  AllAccessDisabled = { "PERMISSION_DENIED", "the service has closed this account or bucket" },
  InvalidAccessKeyId = { "PERMISSION_DENIED", "the service does not know this access key" },
  SignatureDoesNotMatch = { "PERMISSION_DENIED", "the secret key does not belong to the access key, " ..
    "or something between here and the service changes requests" },
  ExpiredToken = { "PERMISSION_DENIED", "the credentials have expired" },
  InvalidToken = { "PERMISSION_DENIED", "the session token does not belong to the access key" },
  RequestTimeTooSkewed = { "CLOCK", "this machine's clock is wrong: run an NTP client" },
  AuthorizationHeaderMalformed = { "INVALID", "the bucket is in another region: set `region`" },
  PermanentRedirect = { "INVALID", "the bucket is in another region: set `region`, and `endpoint` if " ..
    "there is one" },
  IllegalLocationConstraintException = { "INVALID", "the bucket is in another region: set `region`" },
  InvalidBucketName = { "INVALID", "%s is not the name of a bucket" },
  InvalidStorageClass = { "INVALID", "the service does not have this `storage_class`" },
  PreconditionFailed = { "ALREADY_EXISTS" },
  ConditionalRequestConflict = { "ALREADY_EXISTS" },
  NotImplemented = { "UNSUPPORTED" },
  QuotaExceeded = { "DISK_FULL", "the quota of bucket %s, or of its owner, is used up" },
  StorageFull = { "DISK_FULL", "the service has no room left" },
  XMinioStorageFull = { "DISK_FULL", "the service has no room left" },
  BadDigest = { "CORRUPT", "what arrived is not what was sent" },
  XAmzContentSHA256Mismatch = { "CORRUPT", "what arrived is not what was sent" },
  EntityTooLarge = { "INVALID", "the service takes no object that large" },
  SlowDown = { "BUSY", "the service asks to be slower: lower `parallel`" },
  ServiceUnavailable = { "BUSY" },
  InternalError = { "IO_ERROR" },
}
