package history

func (l *life) linearizable() {}
