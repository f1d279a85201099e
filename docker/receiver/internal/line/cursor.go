package line

import (
	"fmt"
)

// maxDepth bounds how deeply arrays and objects may nest in fields that are only passed over.
const maxDepth = 16

// cursor walks over JSON text (RFC 8259). It checks the grammar and gives out pieces of the text; it builds nothing.
type cursor struct {
	b []byte
	i int
}

func (c *cursor) fail() error {
	return fmt.Errorf("not valid JSON at byte %d", c.i+1)
}

// skipSpace moves to the next character that is not white space and returns its place.
func (c *cursor) skipSpace() int {
	for c.i < len(c.b) && (c.b[c.i] == ' ' || c.b[c.i] == '\t' || c.b[c.i] == '\r' || c.b[c.i] == '\n') {
		c.i++
	}
	return c.i
}

// peek returns the character at the cursor, 0 at the end.
func (c *cursor) peek() byte {
	if c.i < len(c.b) {
		return c.b[c.i]
	}
	return 0
}

// take moves over ch, after any white space; false means that something else stands there.
func (c *cursor) take(ch byte) bool {
	c.skipSpace()
	if c.peek() != ch {
		return false
	}
	c.i++
	return true
}

// end fails unless only white space is left.
func (c *cursor) end() error {
	if c.skipSpace() != len(c.b) {
		return c.fail()
	}
	return nil
}

// object reads an object and calls field after each key, which must then read the value. The key is the text between
// the quotes, escapes and all: a key written with escapes is unknown to everybody who compares it with a name.
func (c *cursor) object(field func(key []byte) error) error {
	if !c.take('{') {
		return c.fail()
	}
	if c.take('}') {
		return nil
	}
	for {
		c.skipSpace()
		key, err := c.str()
		if err != nil {
			return err
		}
		if !c.take(':') {
			return c.fail()
		}
		if err := field(key); err != nil {
			return err
		}
		if c.take(',') {
			continue
		}
		if c.take('}') {
			return nil
		}
		return c.fail()
	}
}

// array reads an array; element must read one element each time.
func (c *cursor) array(element func() error) error {
	if !c.take('[') {
		return c.fail()
	}
	if c.take(']') {
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if c.take(',') {
			continue
		}
		if c.take(']') {
			return nil
		}
		return c.fail()
	}
}

// str reads a string and returns what stands between its quotes, with the escapes as they are.
func (c *cursor) str() ([]byte, error) {
	if c.peek() != '"' {
		return nil, c.fail()
	}
	c.i++
	start := c.i
	for c.i < len(c.b) {
		switch ch := c.b[c.i]; {
		case ch == '"':
			c.i++
			return c.b[start : c.i-1], nil
		case ch < ' ':
			return nil, c.fail()
		case ch == '\\':
			if err := c.escape(); err != nil {
				return nil, err
			}
		default:
			c.i++
		}
	}
	return nil, c.fail()
}

// escape moves over one escape sequence.
func (c *cursor) escape() error {
	c.i++
	digits := 0
	switch c.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
	case 'u':
		digits = 4
	default:
		return c.fail()
	}
	c.i++
	for range digits {
		switch ch := c.peek(); {
		case ch >= '0' && ch <= '9', ch >= 'a' && ch <= 'f', ch >= 'A' && ch <= 'F':
			c.i++
		default:
			return c.fail()
		}
	}
	return nil
}

// number moves over a number and tells whether it is written as an integer.
func (c *cursor) number() (integer bool, err error) {
	if c.peek() == '-' {
		c.i++
	}
	if c.peek() == '0' {
		c.i++
	} else if !c.digits() {
		return false, c.fail()
	}
	integer = true
	if c.peek() == '.' {
		integer = false
		c.i++
		if !c.digits() {
			return false, c.fail()
		}
	}
	if c.peek() == 'e' || c.peek() == 'E' {
		integer = false
		c.i++
		if c.peek() == '+' || c.peek() == '-' {
			c.i++
		}
		if !c.digits() {
			return false, c.fail()
		}
	}
	return integer, nil
}

// digits moves over digits; false means that there was none.
func (c *cursor) digits() bool {
	start := c.i
	for c.i < len(c.b) && c.b[c.i] >= '0' && c.b[c.i] <= '9' {
		c.i++
	}
	return c.i > start
}

// word moves over a bare word such as null, NaN or -Infinity; false means that there is none.
func (c *cursor) word() bool {
	i := c.i
	if i < len(c.b) && (c.b[i] == '-' || c.b[i] == '+') {
		i++
	}
	start := i
	for i < len(c.b) && (c.b[i] >= 'a' && c.b[i] <= 'z' || c.b[i] >= 'A' && c.b[i] <= 'Z') {
		i++
	}
	if i == start {
		return false
	}
	c.i = i
	return true
}

// skip moves over any value. The caller starts with depth 0.
func (c *cursor) skip(depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("nested more than %d deep at byte %d", maxDepth, c.i+1)
	}
	c.skipSpace()
	switch ch := c.peek(); {
	case ch == '{':
		return c.object(func([]byte) error { return c.skip(depth + 1) })
	case ch == '[':
		return c.array(func() error { return c.skip(depth + 1) })
	case ch == '"':
		_, err := c.str()
		return err
	case ch == '-' || ch >= '0' && ch <= '9':
		_, err := c.number()
		return err
	}
	for _, w := range []string{"null", "true", "false"} {
		if len(c.b)-c.i >= len(w) && string(c.b[c.i:c.i+len(w)]) == w {
			c.i += len(w)
			return nil
		}
	}
	return c.fail()
}
