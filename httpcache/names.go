package httpcache

// Field names that others set or read, in canonical form.
const (
	AcceptEncodingField  = "Accept-Encoding"
	AcceptRangesField    = "Accept-Ranges"
	AgeField             = "Age"
	CacheControlField    = "Cache-Control"
	CacheStatusField     = "Cache-Status"
	CDNLoopField         = "Cdn-Loop" // as net/http spells the key
	ConnectionField      = "Connection"
	ContentDigestField   = "Content-Digest"
	ContentEncodingField = "Content-Encoding"
	ContentLengthField   = "Content-Length"
	ContentLocationField = "Content-Location"
	ContentRangeField    = "Content-Range"
	ContentTypeField     = "Content-Type"
	DateField            = "Date"
	ETagField            = "Etag" // as net/http spells the key
	ExpiresField         = "Expires"
	IfRangeField         = "If-Range"
	LastModifiedField    = "Last-Modified"
	LinkField            = "Link"
	NoVarySearchField    = "No-Vary-Search"
	ProxyStatusField     = "Proxy-Status"
	RangeField           = "Range"
	SurrogateField       = "Surrogate-Capability"
	ReprDigestField      = "Repr-Digest"
	VaryField            = "Vary"
	ViaField             = "Via"
)

// Names that only the law reads.
const (
	authorizationField     = "Authorization"
	hostField              = "Host"
	ifMatchField           = "If-Match"
	ifModifiedSinceField   = "If-Modified-Since"
	ifNoneMatchField       = "If-None-Match"
	ifRangeField           = IfRangeField
	ifUnmodifiedSinceField = "If-Unmodified-Since"
	locationField          = "Location"
	pragmaField            = "Pragma"
	setCookieField         = "Set-Cookie"
	teField                = "Te"
	trailerField           = "Trailer"
)
