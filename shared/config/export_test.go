package config

// Validate returns what is wrong with a Config that was made in code, sorted by key.
func (c *Config) Validate() Faults {
	v := newValidator(c, nil, nil)
	v.all()
	return v.faults.sorted()
}
