package httpcache

// AppendStored appends s in the binary form that DecodeStored reads, and returns buf.
func AppendStored(buf []byte, s *Stored) []byte { panic("not yet") }

// DecodeStored reads what AppendStored wrote.
func DecodeStored(data []byte) (*Stored, error) { panic("not yet") }
