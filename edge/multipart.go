package edge

import (
	"crypto/rand"
	"net/http"

	"perigee/cachestore"
	"perigee/httpcache"
)

// answerRanges sends several ranges of a stored body as one message (RFC 9110
// §14.6).
func (x *exchange) answerRanges(o *cachestore.Object, re reply, ranges []httpcache.ByteRange, size int64) {
	stored := o.Stored()
	kind := stored.Header().Get(httpcache.ContentTypeField)
	parts := httpcache.NewMultipart(rand.Text(), kind, ranges, size)
	x.head(stored.Header(), re)
	h := x.w.Header()
	h["Accept-Ranges"] = acceptBytes
	h[httpcache.ContentTypeField] = []string{parts.ContentType()}
	h[httpcache.ContentLengthField] = x.value(valueLength, itoa(parts.Length()))
	reader, err := o.Open(ranges[0].First, ranges[0].Length())
	if err != nil {
		x.refetchGone()
		return
	}
	defer func() { reader.Close() }()
	x.weigh()
	x.record.Tier = tierOf(o)
	x.writeHead(http.StatusPartialContent)
	for i, each := range ranges {
		if i > 0 {
			reader.Close()
			if err := o.OpenInto(reader, each.First, each.Length()); err != nil {
				x.cut(err)
				return
			}
		}
		if err := x.sendPart(parts.Head(i), reader); err != nil {
			x.cut(err)
			return
		}
	}
	if err := x.send(parts.Tail()); err != nil {
		x.cut(err)
	}
}

func (x *exchange) sendPart(head []byte, reader *cachestore.Reader) error {
	if err := x.send(head); err != nil {
		return err
	}
	return x.copyFrom(reader)
}
