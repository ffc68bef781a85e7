"""A GraphQL gateway in front of the media service. It caches nothing: put the proxy between, and only its
`MEDIA_SERVICE_ADDR` changes."""
