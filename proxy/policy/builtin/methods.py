"""The methods of `media.MediaService` as `media.yaml` has them, written out for who must not load protobuf."""

SERVICE = "media.MediaService"
GET_FILES_BY_MODEL = f"/{SERVICE}/GetFilesByModel"
UPLOAD_FILE = f"/{SERVICE}/UploadFile"
READS = (GET_FILES_BY_MODEL,)
WRITES = (UPLOAD_FILE, f"/{SERVICE}/DeleteFile")
LARGE = frozenset({UPLOAD_FILE})
"""Writes whose requests may be large."""
_OTHERS = ("GetFileByID", "GetFileByUUID", "GetFileURL", "GetAllMedia")
UNARY = (*READS, *WRITES, *(f"/{SERVICE}/{name}" for name in _OTHERS))
