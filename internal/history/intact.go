package history

func (l *life) intact() {}
