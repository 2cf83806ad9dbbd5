// In place of react-style-singleton, which writes <style> elements: the page's policy has none, and its body never scrolls.
export const styleSingleton = () => () => null;
