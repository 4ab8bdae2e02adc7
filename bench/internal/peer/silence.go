package peer

import (
	"github.com/mgtv-tech/jetcache-go/logger"
	"github.com/zeromicro/go-zero/core/logx"
)

// Silence turns off what libraries print by themselves, some of them as soon as
// they are linked.
func Silence() {
	logx.Disable()
	logger.SetLevel(logger.LevelError)
}
