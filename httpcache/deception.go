package httpcache

import (
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// deceptive reports whether the response is a success with content whose path
// seems to be that of a static file while its media type is of another family.
// That is what web cache deception looks like: /account/x.css, for which the
// origin answers with the account, is stored as a style sheet, and fetched by
// who made the victim ask for it. RFC 9110 §8.3 lets Content-Type alone say what
// content is, so the path is what cannot be trusted.
func deceptive(uri *url.URL, resp Response) bool {
	if uri == nil || resp.Status < 200 || resp.Status > 299 || resp.Status == http.StatusNoContent {
		return false
	}
	checked, mediaType, parsed := "", "", false
	return eachPiece(uri.EscapedPath(), func(piece string) bool {
		extension := extensionOf(piece)
		if extension == "" || extension == checked {
			return false
		}
		checked = extension
		families, static := staticFamilies(extension)
		if static && !parsed {
			mediaType, parsed = mediaTypeOf(resp.Header[ContentTypeField]), true
		}
		return static && !hasFamily(mediaType, families)
	})
}

// maxDecodings is how often the last segment is decoded: once as any server
// does, and again as some do to what a proxy has decoded for them.
const maxDecodings = 3

// maxPieces is how many parts of a segment are looked at, half of them from its
// start and half from its end, where names are. It is even.
const maxPieces = 32

// eachPiece calls f for the last segment of the path and for its parts between
// what may end a name for one server and not for the next, "/account;x.css" or
// "/account%00x.css", as written and decoded. It is true once f is.
func eachPiece(path string, f func(piece string) bool) bool {
	segment := path[strings.LastIndexByte(path, '/')+1:]
	for range maxDecodings + 1 {
		if outerPieces(segment, f) {
			return true
		}
		decoded := decodeOnce(segment)
		if decoded == segment {
			return false
		}
		segment = decoded
	}
	return false
}

// outerPieces calls f for the pieces of a segment, the empty ones and, where there
// are more than maxPieces, those in the middle left out. It is true once f is.
func outerPieces(segment string, f func(piece string) bool) bool {
	isEnd := func(r rune) bool { return r < 0x80 && endsName(byte(r)) }
	for range maxPieces / 2 {
		segment = strings.TrimLeftFunc(segment, isEnd)
		end := strings.IndexFunc(segment, isEnd)
		if end < 0 {
			return segment != "" && f(segment)
		}
		if f(segment[:end]) {
			return true
		}
		segment = segment[end:]
	}
	for range maxPieces / 2 {
		segment = strings.TrimRightFunc(segment, isEnd)
		start := strings.LastIndexFunc(segment, isEnd) + 1
		if segment == "" || f(segment[start:]) {
			return segment != ""
		}
		segment = segment[:start]
	}
	return false
}

// endsName reports the characters that end a file name for some server.
func endsName(c byte) bool {
	return c <= ' ' || c == 0x7f || strings.IndexByte(`/\;?#%&!|~,:`, c) >= 0
}

// decodeOnce decodes the percent-encodings that are well formed.
func decodeOnce(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if hi, lo := unhex(s[i+1]), unhex(s[i+2]); hi <= 15 && lo <= 15 {
				out = append(out, hi<<4|lo)
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}

// maxExtensionBytes is the length of the longest extension that is known.
const maxExtensionBytes = 11

// extensionOf returns what follows the last dot of a name, in lower case, empty
// for nothing that could be an extension. Dots at the end are not of the name.
func extensionOf(name string) string {
	name = strings.TrimRight(name, ".")
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 || len(name)-dot-1 > maxExtensionBytes {
		return ""
	}
	return strings.ToLower(name[dot+1:])
}

// maxTypeBytes is longer than any media type with its parameters.
const maxTypeBytes = 1 << 10

// mediaTypeOf returns the media type of a Content-Type in lower case, empty where
// it is missing, malformed, too long or there twice.
func mediaTypeOf(lines []string) string {
	if len(lines) != 1 || len(lines[0]) > maxTypeBytes {
		return ""
	}
	mediaType, _, err := mime.ParseMediaType(lines[0])
	if err != nil && err != mime.ErrInvalidMediaParameter {
		return ""
	}
	return mediaType
}

// hasFamily reports whether the media type is of the families; an empty one is of
// none.
func hasFamily(mediaType string, families []string) bool {
	if mediaType == "application/octet-stream" || mediaType == "binary/octet-stream" {
		return true // what a server says that does not know the type of a file
	}
	for _, family := range families {
		if mediaType == family || strings.HasSuffix(family, "*") && strings.HasPrefix(mediaType, family[:len(family)-1]) {
			return true
		}
	}
	return false
}

// staticFamilies returns the media types that a file with the extension may have;
// "*" at the end stands for any rest. Extensions of what is made for each
// request as a rule (html, json, xml, php) are not static.
func staticFamilies(extension string) (families []string, static bool) {
	switch extension {
	case "css":
		families = []string{"text/css"}
	case "js", "mjs", "cjs":
		families = scriptTypes()
	case "map":
		families = append(scriptTypes(), "application/json", "text/plain")
	case "wasm":
		families = []string{"application/wasm"}
	case "png", "apng", "jpg", "jpeg", "jfif", "gif", "webp", "avif", "heic", "heif", "jxl", "jp2", "bmp", "ico", "cur",
		"tif", "tiff", "svg", "svgz", "psd":
		families = []string{"image/*"}
	case "woff", "woff2", "ttf", "ttc", "otf", "eot":
		families = []string{"font/*", "application/font-*", "application/x-font-*", "application/vnd.ms-fontobject", "application/vnd.ms-opentype"}
	case "mp3", "m4a", "aac", "ogg", "oga", "opus", "flac", "wav", "weba", "mid", "midi", "aif", "aiff", "wma",
		"mp4", "m4v", "m4s", "cmfv", "cmfa", "webm", "mkv", "mov", "avi", "ogv", "mpg", "mpeg", "wmv", "flv", "3gp", "ts":
		families = []string{"audio/*", "video/*", "application/ogg", "application/mp4"}
	case "vtt", "srt":
		families = []string{"text/vtt", "text/plain", "application/x-subrip"}
	case "pdf":
		families = []string{"application/pdf", "application/x-pdf"}
	case "ps", "eps", "ai":
		families = []string{"application/postscript", "application/pdf", "image/*"}
	case "txt":
		families = []string{"text/plain"}
	case "csv", "tsv":
		families = []string{"text/csv", "application/csv", "text/tab-separated-values", "text/plain", "application/vnd.ms-excel"}
	case "webmanifest":
		families = []string{"application/manifest+json", "application/json"}
	case "swf":
		families = []string{"application/x-shockwave-flash", "application/vnd.adobe.flash.movie"}
	default:
		families = packageTypes(extension)
	}
	return families, families != nil
}

func scriptTypes() []string {
	return []string{"text/javascript", "application/javascript", "application/x-javascript", "text/ecmascript", "application/ecmascript"}
}

// packageTypes returns the media types of documents, archives and programs.
func packageTypes(extension string) []string {
	switch extension {
	case "doc", "docx", "dot", "dotx", "xls", "xlsx", "ppt", "pptx", "pps", "ppsx", "odt", "ods", "odp", "odg":
		return []string{
			"application/msword", "application/msexcel", "application/mspowerpoint", "application/vnd.ms-*",
			"application/vnd.openxmlformats-officedocument.*", "application/vnd.oasis.opendocument.*", "application/zip",
		}
	case "rtf":
		return []string{"application/rtf", "text/rtf", "application/msword"}
	case "epub":
		return []string{"application/epub+zip"}
	case "zip", "gz", "tgz", "tar", "bz2", "xz", "7z", "rar", "zst", "br", "lz4", "jar", "apk", "dmg", "iso", "exe", "msi",
		"deb", "rpm", "pkg", "bin", "img", "class", "crx", "xpi":
		return []string{
			"application/zip", "application/x-zip*", "application/gzip", "application/x-gzip", "application/x-gtar",
			"application/x-tar", "application/x-compressed*", "application/x-bzip*", "application/x-xz", "application/x-7z-compressed",
			"application/vnd.rar", "application/x-rar*", "application/zstd", "application/x-zstd", "application/x-brotli", "application/x-lz4",
			"application/java-archive", "application/x-java-archive", "application/java-vm", "application/x-java-vm",
			"application/vnd.android.package-archive", "application/x-apple-diskimage", "application/x-iso9660-image",
			"application/x-cd-image", "application/x-ms*", "application/vnd.microsoft.portable-executable", "application/x-dosexec",
			"application/vnd.debian.binary-package", "application/x-debian-package", "application/x-deb",
			"application/x-rpm", "application/x-redhat-package-manager", "application/x-newton-compatible-pkg",
			"application/x-chrome-extension", "application/x-xpinstall", "application/x-binary", "application/x-executable",
		}
	}
	return nil
}
