"""The methods of `media.MediaService` as in `media.yaml`, written out for code that must not import protobuf."""

SERVICE = "media.MediaService"
GET_FILES_BY_MODEL = f"/{SERVICE}/GetFilesByModel"
UPLOAD_FILE = f"/{SERVICE}/UploadFile"
READS = (GET_FILES_BY_MODEL,)
WRITES = (UPLOAD_FILE, f"/{SERVICE}/DeleteFile")
LARGE = frozenset({UPLOAD_FILE})
"""The writes whose requests may have up to 50 MiB."""
_OTHERS = ("GetFileByID", "GetFileByUUID", "GetFileURL", "GetAllMedia")
UNARY = (*READS, *WRITES, *(f"/{SERVICE}/{name}" for name in _OTHERS))
