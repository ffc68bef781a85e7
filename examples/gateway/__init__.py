"""A GraphQL gateway in front of the media service. It caches nothing; to put the proxy in between, only
`MEDIA_SERVICE_ADDR` changes."""
