package httpcache

// Multipart is the form in which several ranges of one representation are sent
// (RFC 9110 §14.6, §15.3.7.2): before each part its Head, after the last the Tail.
// It is immutable.
type Multipart struct {
	contentType string
	heads       [][]byte
	tail        []byte
	length      int64
}

// NewMultipart lays out the parts of a representation of size bytes. The boundary
// is the caller's choice: 1 to 70 characters that no part contains, hence random;
// letters and digits are best. contentType is that of the representation, empty
// for none.
func NewMultipart(boundary, contentType string, parts []ByteRange, size int64) *Multipart {
	m := &Multipart{
		contentType: "multipart/byteranges; boundary=" + boundary,
		heads:       make([][]byte, len(parts)),
		tail:        []byte("\r\n--" + boundary + "--\r\n"),
	}
	if !isToken(boundary) {
		m.contentType = string(appendQuoted([]byte("multipart/byteranges; boundary="), boundary))
	}
	for i, part := range parts {
		head := make([]byte, 0, len(boundary)+len(contentType)+96)
		if i > 0 {
			head = append(head, "\r\n"...)
		}
		head = append(append(append(head, "--"...), boundary...), "\r\n"...)
		if contentType != "" {
			head = append(append(append(head, ContentTypeField+": "...), contentType...), "\r\n"...)
		}
		head = append(append(head, ContentRangeField+": "...), ContentRange(part, size)...)
		m.heads[i] = append(head, "\r\n\r\n"...)
		m.length += int64(len(m.heads[i])) + part.Length()
	}
	m.length += int64(len(m.tail))
	return m
}

// ContentType returns the Content-Type of the whole message.
func (m *Multipart) ContentType() string { return m.contentType }

// Length returns the number of bytes of the whole content: heads, parts and tail.
func (m *Multipart) Length() int64 { return m.length }

// Head returns the delimiter and the fields before part i, which must not be
// written to.
func (m *Multipart) Head(i int) []byte { return m.heads[i] }

// Tail returns what follows the last part; it must not be written to.
func (m *Multipart) Tail() []byte { return m.tail }
